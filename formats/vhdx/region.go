package vhdx

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/imsfs/imsfs/formats"
)

// layout has the places of all structures but the blocks.
type layout struct {
	log, bat, metadata span
	// taken are the parts of the file in which no block may lie, in the file's order: the header
	// section, the log and all regions, known or not.
	taken []span
}

// overlapping finds a taken part of [off, end).
func (l *layout) overlapping(off, end int64) (span, bool) {
	i, _ := slices.BinarySearchFunc(l.taken, off, func(s span, off int64) int {
		if s.end <= off {
			return -1
		}
		return 1
	})
	if i < len(l.taken) && l.taken[i].off < end {
		return l.taken[i], true
	}
	return span{}, false
}

// regionTables are the two copies, each with its fault, "" if there is none. A copy that is not
// needed is not read.
type regionTables struct {
	raw    [2][]byte
	faults [2]string
}

func readRegionTables(ctx context.Context, src formats.Source, both bool) (t regionTables, err error) {
	for i, at := range tableAt {
		if i > 0 && t.faults[0] == "" && !both {
			break
		}
		if t.raw[i], t.faults[i], err = readSealed(ctx, src, at, tableSize, "regi", "region table"); err != nil {
			return t, err
		}
	}
	return t, nil
}

// current returns the table in use, the first good one, and its offset; nil if both are damaged,
// which is reported.
func (t *regionTables) current(report report) ([]byte, int64) {
	for i, fault := range t.faults {
		if fault == "" {
			return t.raw[i], tableAt[i]
		}
	}
	report(tableAt[0], "region table: %s", t.faults[0])
	report(tableAt[1], "region table: %s, and the other one is damaged too", t.faults[1])
	return nil, 0
}

// readLayout reads the region table. If it reports something wrong, the result is nil. The error is
// for an unknown region that readers must know.
func readLayout(ctx context.Context, src formats.Source, h *header, report report) (*layout, error) {
	tables, err := readRegionTables(ctx, src, false)
	if err != nil {
		return nil, err
	}
	table, at := tables.current(report)
	if table == nil {
		return nil, nil
	}
	count := binary.LittleEndian.Uint32(table[8:])
	if count > maxEntries {
		report(at+8, "region table: entry_count is %d, must be at most %d", count, maxEntries)
		return nil, nil
	}
	l, good := &layout{log: h.logSpan()}, true
	l.taken = []span{{"header section", 0, sectionSize}, l.log}
	for i := range int64(count) {
		at := at + 16 + i*entrySize
		ok, err := l.add(table[16+i*entrySize:], at, src.Size(), report)
		if err != nil {
			return nil, err
		}
		good = good && ok
	}
	good = l.order(report) && good
	for _, r := range []struct {
		what string
		span span
	}{{"BAT", l.bat}, {"metadata", l.metadata}} {
		if r.span.end == 0 && good {
			report(at, "region table: there is no %s region", r.what)
			good = false
		}
	}
	if !good {
		return nil, nil
	}
	return l, nil
}

// add takes in the entry in b, which is at an offset of the file.
func (l *layout) add(b []byte, at, fileSize int64, report report) (ok bool, err error) {
	le := binary.LittleEndian
	id, off, length := guid(b[:16]).String(), le.Uint64(b[16:]), le.Uint32(b[24:])
	s := span{"region " + id, int64(off), int64(off) + int64(length)}
	var known *span
	switch id {
	case batRegion:
		s.what, known = "BAT", &l.bat
	case metadataRegion:
		s.what, known = "metadata region", &l.metadata
	}
	switch {
	case known == nil && le.Uint32(b[28:])&1 != 0:
		return false, fmt.Errorf("vhdx: region %s, which must be understood to read the file, is not known: %w", id, errors.ErrUnsupported)
	case off%mib != 0 || off < sectionSize || off > maxFileSize:
		report(at+16, "region table: the offset of the %s is %#x, must be a multiple of 1 MiB from 1 MiB to 128 TiB", s.what, off)
		return false, nil
	case length%mib != 0 || length == 0:
		report(at+24, "region table: the length of the %s is %d, must be a positive multiple of 1 MiB", s.what, length)
		return false, nil
	case known != nil && s.end > fileSize:
		report(at+16, "region table: the %s, [%#x, +%d), lies outside of the file of %d bytes", s.what, off, length, fileSize)
		return false, nil
	case known != nil && known.end != 0:
		report(at, "region table: there is a second %s", s.what)
		return false, nil
	}
	if known != nil {
		*known = s
	}
	l.taken = append(l.taken, s)
	return true, nil
}

// order sorts the taken parts and reports overlaps.
func (l *layout) order(report report) bool {
	l.taken = slices.DeleteFunc(l.taken, func(s span) bool { return s.off == s.end }) // a log of no length
	slices.SortStableFunc(l.taken, func(a, b span) int { return cmp.Compare(a.off, b.off) })
	good := true
	for i := range len(l.taken) - 1 {
		if a, b := l.taken[i], l.taken[i+1]; a.overlaps(b) {
			report(b.off, "the %s, [%#x, %#x), overlaps the %s, [%#x, %#x)", b.what, b.off, b.end, a.what, a.off, a.end)
			good = false
		}
	}
	return good
}
