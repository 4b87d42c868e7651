package vhd

import (
	"context"
	"encoding/binary"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/tables"
)

// pageSize is how much of the BAT is read at once: the entries for 32 GiB of a disk in blocks of 2
// MiB.
const pageSize = 64 << 10

// bat is the block allocation table of an open file, and the places that no block may lie in.
type bat struct {
	cache     *tables.Cache // of pages, and of the sector bitmaps
	at        int64
	blocks    int64 // entries that the disk needs
	blockSize int64
	bitmap    int64 // bytes of a sector bitmap, whole sectors
	end       int64 // of the data area
	reserved  []span
}

// span is a structure's place in the file.
type span struct {
	off, n int64
	what   string
}

// newBAT describes the table of a verified header at offset at.
func newBAT(src formats.Source, h *header, at, size, end int64) *bat {
	t := &bat{
		cache:     tables.New(src, name, 0, nil),
		at:        int64(h.tableOffset),
		blockSize: int64(h.blockSize),
		blocks:    (size + int64(h.blockSize) - 1) / int64(h.blockSize),
		bitmap:    bitmapSize(h.blockSize),
		end:       end,
	}
	t.reserved = []span{
		{0, footerSize, "the copy of the footer"},
		{at, headerSize, "the header"},
		{t.at, roundUp(t.at+int64(h.maxTableEntries)*entrySize, sectorSize) - t.at, "the BAT"},
	}
	return t
}

// bitmapSize is that of a block's bitmap: a bit a sector, in whole sectors.
func bitmapSize(blockSize uint32) int64 {
	return roundUp((int64(blockSize)/sectorSize+7)/8, sectorSize)
}

// page returns the page of the table with the block's entry, and the block of its first entry.
func (t *bat) page(ctx context.Context, block int64) (page []byte, from int64, err error) {
	from = block - block%(pageSize/entrySize)
	n := min(pageSize, (t.blocks-from)*entrySize)
	page, err = t.cache.Get(ctx, t.at+from*entrySize, int(n), "BAT")
	return page, from, err
}

// place returns the offset of a block's sector bitmap, which its sectors follow, from its entry.
// stored is false if there is no block.
func (t *bat) place(block int64, entry []byte) (off int64, stored bool, err error) {
	sector := binary.BigEndian.Uint32(entry)
	if sector == unused {
		return 0, false, nil
	}
	off = int64(sector) * sectorSize
	if t.free(off) {
		return off, true, nil
	}
	var found first
	t.verify(block, off, found.report)
	return off, true, found.err
}

// free reports whether a block may lie at the offset.
func (t *bat) free(off int64) bool {
	n := t.bitmap + t.blockSize
	for _, r := range t.reserved {
		if overlap(off, n, r.off, r.n) {
			return false
		}
	}
	return off+n <= t.end
}

// verify reports a block in an impossible place.
func (t *bat) verify(block, off int64, report finding) {
	at, n := t.at+block*entrySize, t.bitmap+t.blockSize
	if off+n > t.end {
		report(at, "BAT: block %d is [%#x, +%d), which must end before the end of the data at %#x", block, off, n, t.end)
	}
	for _, r := range t.reserved {
		if overlap(off, n, r.off, r.n) {
			report(at, "BAT: block %d is [%#x, +%d), which must not overlap %s, [%#x, +%d)", block, off, n, r.what, r.off, r.n)
		}
	}
}

// lookup finds a block.
func (t *bat) lookup(ctx context.Context, block int64) (off int64, stored bool, err error) {
	page, from, err := t.page(ctx, block)
	if err != nil {
		return 0, false, err
	}
	return t.place(block, page[(block-from)*entrySize:])
}

// run returns the end, at most limit, of the run of blocks that are stored, or not, like this one.
// It ends with the page, or at a block with a fault, which is reported when that block is read.
func (t *bat) run(page []byte, from, block, limit int64, stored bool) int64 {
	limit = min(limit, from+int64(len(page))/entrySize)
	for block++; block < limit; block++ {
		_, s, err := t.place(block, page[(block-from)*entrySize:])
		if err != nil || s != stored {
			break
		}
	}
	return block
}

func (s span) end() int64 { return s.off + s.n }
