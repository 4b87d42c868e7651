package vhd

import (
	"context"
	"errors"
	"fmt"
	"math/bits"

	"github.com/imsfs/imsfs/formats"
)

// finding takes one finding: an offset in the source, and the sentence. Open keeps the first, Check
// all.
type finding func(off int64, format string, args ...any)

// first is a report that keeps the first finding as an error.
type first struct{ err error }

func (f *first) report(off int64, format string, args ...any) {
	if f.err == nil {
		f.err = formats.Corrupt(name, off, format, args...)
	}
}

// rule is a condition that a field must fulfil. Rules are tried in order; a later one may depend on
// the earlier ones.
type rule struct {
	field string
	got   any
	ok    bool
	must  string
}

func verify(what string, at int64, fields []field, rules []rule, report finding) {
	for _, r := range rules {
		if !r.ok {
			report(at+fieldOffset(fields, r.field), "%s: %s is %v, must be %s", what, r.field, r.got, r.must)
		}
	}
}

// fieldOffset is where the named field starts.
func fieldOffset(fields []field, name string) int64 {
	for _, f := range fields {
		if f.name == name {
			return int64(f.off)
		}
	}
	panic("vhd: no field " + name) // bug: rules name fields of the tables only
}

// verify reports what in a footer is impossible, in a file whose data area ends at end.
func (s *sealed) verify(end int64, report finding) {
	size, field, got := s.size(), s.sizeRule(), any(s.currentSize)
	if field == byGeometry {
		got = s.geometry
	}
	rules := []rule{{field, got, size > 0 || s.currentSize == 0, "of one sector at least"}}
	if s.diskType == typeFixed {
		rules = append(rules, rule{field, got, size <= uint64(end), fmt.Sprintf("at most the %d bytes before the footer", end)})
	} else {
		rules = append(rules,
			rule{field, got, size <= maxSize, fmt.Sprintf("at most %d bytes (2040 GiB) with a BAT", int64(maxSize))},
			rule{"data_offset", s.dataOffset, inside(s.dataOffset, headerSize, footerSize, uint64(end)),
				fmt.Sprintf("that of a header between the footer's copy and the end of the data at %d", end)})
	}
	verify("footer", s.at, footerFields, rules, report)
}

// readHeader reads the header at an offset that has been verified. problem says that there is none.
func readHeader(ctx context.Context, src formats.Source, at int64) (h header, problem string, err error) {
	b := make([]byte, headerSize)
	if err := src.ReadAt(ctx, b, at); err != nil {
		return h, "", fmt.Errorf("vhd: header at %#x: %w", at, err)
	}
	return decodeHeader(b), seal(b, headerCookie, headerSumAt), nil
}

// supported refuses by name the kinds of header that are not read.
func (h *header) supported() error {
	if h.version != fileVersion {
		return fmt.Errorf("vhd: header_version %s is not read, only %s: %w", formatVersion(h.version), formatVersion(fileVersion), errors.ErrUnsupported)
	}
	return nil
}

// verify reports what in a header at an offset is impossible for a disk of size bytes, in a file
// whose data area ends at end.
func (h *header) verify(at, size, end int64, report finding) {
	table := uint64(h.maxTableEntries) * entrySize
	verify("header", at, headerFields, []rule{
		{"block_size", h.blockSize, validBlockSize(h.blockSize), fmt.Sprintf("a power of two from 512 to %d", formats.MaxClusterSize)},
		{"max_table_entries", h.maxTableEntries, uint64(h.maxTableEntries)*uint64(h.blockSize) >= uint64(size), fmt.Sprintf("enough blocks for a disk of %d bytes", size)},
		{"table_offset", h.tableOffset, inside(h.tableOffset, table, footerSize, uint64(end)) && !overlap(int64(h.tableOffset), int64(table), at, headerSize),
			fmt.Sprintf("that of a BAT of %d bytes between the footer's copy and the end of the data at %d, and beside the header", table, end)},
	}, report)
}

func validBlockSize(n uint32) bool {
	return n >= sectorSize && n <= formats.MaxClusterSize && bits.OnesCount32(n) == 1
}

// inside reports whether [off, off+n) lies in [from, to), without overflowing.
func inside(off, n, from, to uint64) bool { return off >= from && off <= to && n <= to-off }

// overlap reports whether [a, a+n) and [b, b+m) share a byte.
func overlap(a, n, b, m int64) bool { return a < b+m && b < a+n }
