package vhd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/imsfs/imsfs/formats"
)

// sealed is a footer as it was found. One with a fault must not be used.
type sealed struct {
	footer
	at    int64
	short bool   // of 511 bytes
	bytes []byte // 512, the last of a short one taken as 0
	fault string
}

// seals are the two places of a footer: at the end, and the copy at 0, which a fixed disk does not
// have.
type seals struct{ end, front sealed }

// readSeals reads both. A file too small for a footer has it at fault.
func readSeals(ctx context.Context, src formats.Source) (s seals, err error) {
	if s.front, err = readSeal(ctx, src, 0, footerSize); err != nil {
		return s, err
	}
	if s.end, err = readSeal(ctx, src, max(0, src.Size()-footerSize), footerSize); err != nil {
		return s, err
	}
	if at := shortFooterAt(src); !s.end.stands() && at >= 0 {
		short, err := readSeal(ctx, src, at, shortFooterSize)
		if err != nil {
			return s, err
		}
		if short.stands() {
			s.end = short
		}
	}
	return s, nil
}

func readSeal(ctx context.Context, src formats.Source, at int64, size int) (sealed, error) {
	s := sealed{at: at, short: size < footerSize, bytes: make([]byte, footerSize)}
	if src.Size()-at < int64(size) {
		s.fault = fmt.Sprintf("the file has %d bytes", src.Size())
		return s, nil
	}
	if err := src.ReadAt(ctx, s.bytes[:size], at); err != nil {
		return s, fmt.Errorf("vhd: footer at %#x: %w", at, err)
	}
	s.footer = decodeFooter(s.bytes)
	s.fault = seal(s.bytes, footerCookie, footerSumAt)
	return s, nil
}

// stands reports whether these bytes were meant to be a footer, even if they are damaged.
func (s *sealed) stands() bool { return strings.HasPrefix(string(s.bytes), footerCookie) }

// dataEnd is where the data area ends: at the footer, even a damaged one, or with the file.
func (s *seals) dataEnd(src formats.Source) int64 {
	if s.end.stands() {
		return s.end.at
	}
	return src.Size()
}

// believe returns the footer by which the file is read: the one at the end, or its copy if there is
// none. A truncated file may end with any sector of its guest's, even with a footer. So two good
// footers that are not of one disk are refused, because either may be right.
func (s *seals) believe() (sealed, error) {
	end, front := &s.end, &s.front
	table := front.fault == "" && front.diskType != typeFixed // the copy of a fixed disk would be its guest's
	switch {
	case end.fault == "" && table && (end.diskType != front.diskType || end.uuid != front.uuid):
		return sealed{}, formats.Corrupt(name, end.at, "%s", s.dispute())
	case end.fault == "":
		return *end, end.supported()
	case table:
		return *front, front.supported()
	}
	return sealed{}, formats.Corrupt(name, end.at, "%s", s.dispute())
}

// dispute says why believe returns none.
func (s *seals) dispute() string {
	end, front := &s.end, &s.front
	if end.fault == "" {
		return fmt.Sprintf("footer: type %d and UUID %v, but the copy at 0 has type %d and UUID %v: this is not one disk", end.diskType, end.uuid, front.diskType, front.uuid)
	}
	return fmt.Sprintf("footer: %s (and the copy at 0: %s)", end.fault, s.frontFault())
}

func (s *seals) frontFault() string {
	if s.front.fault == "" {
		return "a fixed disk has none"
	}
	return s.front.fault
}

// supported refuses by name the kinds of footer that are not read.
func (f *footer) supported() error {
	switch {
	case f.version != fileVersion:
		return fmt.Errorf("vhd: version %s is not read, only %s: %w", formatVersion(f.version), formatVersion(fileVersion), errors.ErrUnsupported)
	case f.diskType < typeFixed || f.diskType > typeDifferencing:
		return fmt.Errorf("vhd: type %d is not read, only 2 (fixed), 3 (dynamic) and 4 (differencing): %w", f.diskType, errors.ErrUnsupported)
	}
	return nil
}

// subformat is the type in words.
func (f *footer) subformat() string {
	switch f.diskType {
	case typeFixed:
		return "fixed"
	case typeDynamic:
		return "dynamic"
	}
	return "differencing"
}
