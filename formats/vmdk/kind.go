package vmdk

import (
	"bytes"
	"context"
	"strings"

	"github.com/imsfs/imsfs/formats"
)

// frontSize is how much of a file decides its kind.
const frontSize = 1024

// Probe claims sparse extents of all kinds by their magic numbers, and descriptors by their text. A
// file that Open refuses is claimed too if it is clearly VMDK.
func (d *Driver) Probe(ctx context.Context, src formats.Source) (bool, error) {
	b := make([]byte, min(src.Size(), frontSize))
	if err := src.ReadAt(ctx, b, 0); err != nil {
		return false, err
	}
	return kindOf(b) != unknown, nil
}

// kind is the kind of a file.
type kind uint8

const (
	unknown kind = iota
	sparseFile
	cowdFile
	seSparseFile
	descriptorFile
	utf16File // a descriptor in UTF-16, which is not read
)

// kindOf returns the kind of a file that begins with b, which has frontSize bytes or all of the
// file.
func kindOf(b []byte) kind {
	switch {
	case bytes.HasPrefix(b, []byte(magic)):
		return sparseFile
	case bytes.HasPrefix(b, []byte(magicCOWD)):
		return cowdFile
	case bytes.HasPrefix(b, []byte(magicSESparse)):
		return seSparseFile
	case isDescriptor(b):
		return descriptorFile
	case isDescriptor(narrowed(b)):
		return utf16File
	}
	return unknown
}

// isDescriptor reports whether b is the front of a descriptor: text with one of the lines that no
// other file has. Programs differ in the first line: "# Disk DescriptorFile" with or without its
// spaces, other comments, or none.
func isDescriptor(b []byte) bool {
	text, ok := textOf(b)
	if !ok {
		return false
	}
	first := true
	for line := range strings.Lines(text) {
		line = strings.ToLower(strings.Join(strings.Fields(line), ""))
		switch {
		case line == "":
			continue
		case line == firstLineSquashed, strings.HasPrefix(line, "createtype="), strings.HasPrefix(line, "parentcid="):
			return true
		case first && (line == "version=1" || line == "version=2" || line == "version=3"):
			return true
		}
		first = first && line[0] == '#'
	}
	return false
}

// firstLineSquashed is firstLine as isDescriptor compares it.
const firstLineSquashed = "#diskdescriptorfile"

const byteOrderMark = "\ufeff"

// textOf returns the text at the start of a file, up to the first zero byte, without a byte order
// mark. ok is false if it has bytes that no text has.
func textOf(b []byte) (text string, ok bool) {
	b, _, _ = bytes.Cut(b, []byte{0})
	b = bytes.TrimPrefix(b, []byte(byteOrderMark))
	control := func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f }
	return string(b), !bytes.ContainsFunc(b, control)
}

// narrowed returns every other byte of UTF-16 text that has a byte order mark, nil of anything
// else.
func narrowed(b []byte) []byte {
	var low int
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xfe")):
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		low = 1
	default:
		return nil
	}
	var n []byte
	for i := 2 + low; i < len(b); i += 2 {
		n = append(n, b[i])
	}
	return n
}
