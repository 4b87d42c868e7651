package vhdx

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// header has the facts that the log never changes.
type header struct {
	at                   int64
	sequence             uint64
	fileWrite, dataWrite guid
	log                  guid // names the entries that count; zeros if the log is empty
	logVersion, version  uint16
	logLength            uint32
	logOffset            uint64
}

func decodeHeader(b []byte, at int64) header {
	le := binary.LittleEndian
	return header{
		at:         at,
		sequence:   le.Uint64(b[8:]),
		fileWrite:  guid(b[16:32]),
		dataWrite:  guid(b[32:48]),
		log:        guid(b[48:64]),
		logVersion: le.Uint16(b[64:]),
		version:    le.Uint16(b[66:]),
		logLength:  le.Uint32(b[68:]),
		logOffset:  le.Uint64(b[72:]),
	}
}

// logSpan is the log's place, which verify has seen to.
func (h *header) logSpan() span {
	return span{"log", int64(h.logOffset), int64(h.logOffset) + int64(h.logLength)}
}

// headers are the two copies, each with its fault, "" if there is none.
type headers struct {
	copies [2]header
	faults [2]string
	equal  bool // in all their bytes
}

func readHeaders(ctx context.Context, src formats.Source) (headers, error) {
	var h headers
	var raw [2][]byte
	for i, at := range headerAt {
		var err error
		if raw[i], h.faults[i], err = readSealed(ctx, src, at, headerSize, "head", "header"); err != nil {
			return h, err
		}
		if h.faults[i] == "" {
			h.copies[i] = decodeHeader(raw[i], at)
		}
	}
	h.equal = string(raw[0]) == string(raw[1])
	return h, nil
}

// readSealed reads a structure that begins with a signature and its checksum.
func readSealed(ctx context.Context, src formats.Source, at, size int64, signature, what string) (b []byte, fault string, err error) {
	if at > src.Size()-size {
		return nil, fmt.Sprintf("the file has only %d bytes", src.Size()), nil
	}
	b = make([]byte, size)
	if err := src.ReadAt(ctx, b, at); err != nil {
		return nil, "", fmt.Errorf("vhdx: %s at %#x: %w", what, at, err)
	}
	if got := b[:len(signature)]; string(got) != signature {
		return b, fmt.Sprintf("signature is %q, must be %q", got, signature), nil
	}
	if got, want := binary.LittleEndian.Uint32(b[4:]), checksum(b); got != want {
		return b, fmt.Sprintf("checksum is %#08x, must be %#08x", got, want), nil
	}
	return b, "", nil
}

// current returns the header in use, nil if both are damaged, which is reported.
func (h *headers) current(report report) *header {
	a, b := &h.copies[0], &h.copies[1]
	switch {
	case h.faults[0] != "" && h.faults[1] != "":
		report(headerAt[0], "header: %s", h.faults[0])
		report(headerAt[1], "header: %s, and the other one is damaged too", h.faults[1])
		return nil
	case h.faults[1] != "":
		return a
	case h.faults[0] != "":
		return b
	case a.sequence == b.sequence && !h.equal:
		report(headerAt[1], "header: sequence number %d is that of the other one, which differs: neither is the newer", b.sequence)
		return nil
	case b.sequence > a.sequence:
		return b
	}
	return a // Disk2VHD writes the same header twice
}

// verify reports whether the current header of a file follows the rules, and what is wrong with it.
// The error is for a version that is not read.
func (h *header) verify(report report) (bool, error) {
	switch {
	case h.version != 1:
		return false, fmt.Errorf("vhdx: version %d is not read, only 1: %w", h.version, errors.ErrUnsupported)
	case h.log != guid{} && h.logVersion != 0:
		return false, fmt.Errorf("vhdx: a log of version %d, which is not empty, is not read, only 0: %w", h.logVersion, errors.ErrUnsupported)
	case h.logLength%mib != 0:
		report(h.at+68, "header: log_length is %d, must be a multiple of 1 MiB", h.logLength)
		return false, nil
	case h.logOffset%mib != 0 || h.logOffset < sectionSize || h.logOffset > maxFileSize:
		report(h.at+72, "header: log_offset is %#x, must be a multiple of 1 MiB from 1 MiB to 128 TiB", h.logOffset)
		return false, nil
	}
	return true, nil
}
