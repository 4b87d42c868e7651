package vhd

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/imsfs/imsfs/formats"
)

// maxName bounds a parent's name in a locator: Windows has no longer paths.
const maxName = 64 << 10

// decoders turn the text of a locator, by its platform, into a path, or "" if it has none. Other
// platforms are not read: for example, the alias of "Mac " is not a path.
var decoders = map[string]func(b []byte) string{
	"W2ru": func(b []byte) string { return fromUTF16(binary.LittleEndian, b) }, // relative
	"Wi2r": fromANSI,
	"W2ku": func(b []byte) string { return fromUTF16(binary.LittleEndian, b) }, // absolute
	"Wi2k": fromANSI,
	"MacX": fromURL,
}

// parentOrder is in which order the names of a parent are tried: locators that are relative, the
// name in the header (""), then those that are absolute.
var parentOrder = []string{"W2ru", "Wi2r", "", "MacX", "W2ku", "Wi2k"}

// backing reads the names of a differencing disk's parent.
func (h *header) backing(ctx context.Context, src formats.Source, at, end int64) (*formats.Backing, error) {
	var found first
	h.verifyLocators(at, end, found.report)
	if found.err != nil {
		return nil, found.err
	}
	paths := map[string][]string{"": {fromUTF16(nameOrder(h.parentName[:]), h.parentName[:])}}
	for _, l := range h.locators {
		code := string(l.code[:])
		decode, ok := decoders[code]
		if !ok {
			continue
		}
		b := make([]byte, l.bytes)
		if err := src.ReadAt(ctx, b, int64(l.offset)); err != nil {
			return nil, fmt.Errorf("vhd: parent locator %q at %#x: %w", code, l.offset, err)
		}
		paths[code] = append(paths[code], decode(b))
	}
	b := &formats.Backing{Format: name, ID: h.parentUUID.String()}
	if b.ID == "" {
		b.Format = "raw" // XenServer's: a parent without a UUID is not a VHD
	}
	var ordered []string
	for _, code := range parentOrder {
		ordered = append(ordered, paths[code]...)
	}
	b.Paths = candidates(ordered)
	return b, nil
}

// verifyLocators reports locators that cannot be followed, in the header at an offset.
func (h *header) verifyLocators(at, end int64, report finding) {
	for i, l := range h.locators {
		entry := at + locatorsAt + int64(i)*locatorSize
		switch {
		case l.code == [4]byte{}:
		case l.bytes > maxName:
			report(entry, "header: parent locator %d (%q) has %d bytes, must have at most %d", i, l.code[:], l.bytes, maxName)
		case !inside(l.offset, uint64(l.bytes), footerSize, uint64(end)):
			report(entry, "header: parent locator %d (%q) is [%#x, +%d), must lie between the footer's copy and the end of the data at %#x", i, l.code[:], l.offset, l.bytes, end)
		}
	}
}

// candidates returns the paths to try, once each. Of a path on another machine's drives only the
// last element is used, which is looked for beside the image; a path from the root comes last.
func candidates(paths []string) []string {
	var relative, absolute []string
	add := func(list *[]string, p string) {
		if !slices.Contains(*list, p) {
			*list = append(*list, p)
		}
	}
	for _, p := range paths {
		drive := len(p) >= 2 && p[1] == ':'
		slashed := strings.ReplaceAll(p, `\`, "/")
		if drive || strings.HasPrefix(p, `\`) {
			slashed = slashed[strings.LastIndexAny(slashed, "/:")+1:]
		}
		for strings.HasPrefix(slashed, "./") {
			slashed = strings.TrimLeft(slashed[2:], "/")
		}
		switch {
		case slashed == "" || strings.HasSuffix(slashed, "/"):
		case slashed[0] == '/':
			add(&absolute, slashed)
		default:
			add(&relative, slashed)
		}
	}
	return append(relative, absolute...)
}

// nameOrder returns the byte order of a parent's name in the header. The format has big-endian
// ones, but some writers do not; a name has more characters with a high byte of zero, such as those
// of ".vhd", than with a low byte of zero.
func nameOrder(b []byte) binary.ByteOrder {
	swapped := 0
	for ; len(b) >= 2 && (b[0] != 0 || b[1] != 0); b = b[2:] {
		switch {
		case b[0] == 0:
			swapped--
		case b[1] == 0:
			swapped++
		}
	}
	if swapped > 0 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}

func fromUTF16(order binary.ByteOrder, b []byte) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		unit := order.Uint16(b)
		if unit == 0 {
			break
		}
		units = append(units, unit)
	}
	return string(utf16.Decode(units))
}

// fromANSI returns ASCII text only, because other text depends on the code page of the machine that
// wrote it.
func fromANSI(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	if strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0 {
		return ""
	}
	return s
}

// fromURL takes the path of a file URL, which may be relative: file://./parent.vhd.
func fromURL(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	s, ok := strings.CutPrefix(s, "file://")
	p, err := url.PathUnescape(strings.TrimPrefix(s, "localhost"))
	if !ok || err != nil || !utf8.ValidString(p) || strings.Contains(p, "\x00") {
		return ""
	}
	return p
}
