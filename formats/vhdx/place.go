package vhdx

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/imsfs/imsfs/formats"
)

func stateFault(e entry) string { return fmt.Sprintf("state %d is reserved", e.state()) }

// placeFault says why a block of size bytes cannot lie where its entry says, or "". Only used bytes
// of it must be in the file: the last block of a fixed disk ends with the disk.
func (m *image) placeFault(e entry, used, size int64) string {
	off, file := e.offset(), uint64(m.src.Size())
	if e.reserved() != 0 {
		return fmt.Sprintf("entry %#x has reserved bits set", uint64(e))
	}
	if off > file || uint64(used) > file-off {
		return fmt.Sprintf("[%#x, +%d) lies outside of the file of %d bytes", off, used, file)
	}
	if s, found := m.layout.overlapping(int64(off), int64(off)+size); found {
		return fmt.Sprintf("[%#x, +%d) overlaps the %s, [%#x, %#x)", off, size, s.what, s.off, s.end)
	}
	return ""
}

// sectors reports whether the sector at offset in of a partially present block is in this file, and
// for how many bytes, at most n, that stays so.
func (m *image) sectors(ctx context.Context, block, in, n int64) (set bool, run int64, err error) {
	b, err := m.bitmap(ctx, block)
	if err != nil {
		return false, 0, err
	}
	from := in / m.sector
	set, end := bitRun(b, from, (in+n-1)/m.sector+1)
	return set, min(n, end*m.sector-in), nil
}

// bitmap returns the part of the sector bitmap for a block. That is 256 bytes to 64 KiB, and never
// on two pages.
func (m *image) bitmap(ctx context.Context, block int64) ([]byte, error) {
	var pg page
	index := m.bitmapIndex(block)
	if err := m.bat.load(ctx, &pg, index); err != nil {
		return nil, err
	}
	e := pg.entry(index)
	if fault := m.bitmapFault(e); fault != "" {
		return nil, formats.Corrupt(name, m.bat.at(index), "BAT: sector bitmap of payload block %d, which is partially present: %s", block, fault)
	}
	size := m.blockSize / m.sector / 8
	at := block % m.ratio() * size
	first := at &^ (pageSize - 1)
	raw, err := m.bat.tables.Get(ctx, int64(e.offset())+first, pageSize, "sector bitmap")
	if err != nil {
		return nil, err
	}
	return raw[at-first:][:size], nil
}

// bitmapFault says why the entry of a needed sector bitmap block is wrong, or "".
func (m *image) bitmapFault(e entry) string {
	switch e.state() {
	case notPresent:
		return "it is not present"
	case fullyPresent:
		return m.placeFault(e, mib, mib)
	}
	return stateFault(e)
}

// bitRun is the state of bit from and the end, at most limit, of the run of bits that are like it.
// Bit 0 is the lowest of byte 0.
func bitRun(b []byte, from, limit int64) (set bool, end int64) {
	set = b[from/8]>>(from%8)&1 != 0
	for end = from; end < limit; {
		word := binary.LittleEndian.Uint64(b[end/64*8:]) // bitmaps are whole words
		if set {
			word = ^word
		}
		// Shifting fills in zeros, which look like more of the run: go no further than the word.
		left := 64 - end%64
		same := min(int64(bits.TrailingZeros64(word>>(end%64))), left)
		end += same
		if same < left {
			break
		}
	}
	return set, min(end, limit)
}
