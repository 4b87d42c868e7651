package vhdx

import (
	"context"
	"encoding/binary"

	"github.com/imsfs/imsfs/formats/tables"
)

const (
	pageSize       = 64 * kib // in which the BAT and sector bitmaps are read
	entriesPerPage = pageSize / 8
)

// States of a BAT entry. The others are reserved.
const (
	notPresent       = 0
	undefined        = 1
	zero             = 2
	unmapped         = 3
	unmappedOld      = 5 // as drafts of the format had it; qemu reads it so
	fullyPresent     = 6 // also of a sector bitmap block
	partiallyPresent = 7
)

// entry is one of the BAT.
type entry uint64

func (e entry) state() int { return int(e & 7) }

// offset is where the block lies, and may be any number.
func (e entry) offset() uint64 { return uint64(e) &^ (mib - 1) }

// reserved are the bits that must be zeros.
func (e entry) reserved() uint64 { return uint64(e) & (mib - 1) &^ 7 }

// present reports whether the block lies in the file.
func (e entry) present() bool { return e.state() == fullyPresent || e.state() == partiallyPresent }

// geometry is how a disk is divided into blocks, and the BAT into entries. After the entries of a
// chunk's payload blocks comes that of its sector bitmap block, even if the disk has no parent and
// does not use it.
type geometry struct {
	size, blockSize, sector int64
	parent                  bool
}

// ratio is the number of payload blocks of a chunk, which share one sector bitmap block.
func (g geometry) ratio() int64 { return sectorsPerBitmap * g.sector / g.blockSize }

func (g geometry) blocks() int64 { return (g.size + g.blockSize - 1) / g.blockSize }

// index is where the entry of a payload block stands in the BAT.
func (g geometry) index(block int64) int64 { return block + block/g.ratio() }

// bitmapIndex is where the entry of the sector bitmap block stands that speaks of a payload block.
func (g geometry) bitmapIndex(block int64) int64 {
	return (block/g.ratio()+1)*(g.ratio()+1) - 1
}

// entries is the number of those that mean anything.
func (g geometry) entries() int64 {
	last := g.blocks() - 1
	if g.parent {
		return g.bitmapIndex(last) + 1
	}
	return g.index(last) + 1
}

// used is how many bytes of a block belong to the disk: all but of the last one.
func (g geometry) used(block int64) int64 { return min(g.blockSize, g.size-block*g.blockSize) }

// bat reads the BAT in pages.
type bat struct {
	tables *tables.Cache
	off    int64 // in the file
}

// at is where in the file an entry stands.
func (b *bat) at(index int64) int64 { return b.off + index*8 }

// page is a part of the BAT: its entries from first on.
type page struct {
	first int64
	b     []byte
}

func (p *page) has(index int64) bool {
	return p.b != nil && index/entriesPerPage == p.first/entriesPerPage
}

func (p *page) entry(index int64) entry {
	return entry(binary.LittleEndian.Uint64(p.b[(index-p.first)*8:]))
}

// load makes p the page in which an entry stands.
func (b *bat) load(ctx context.Context, p *page, index int64) error {
	if p.has(index) {
		return nil
	}
	first := index &^ (entriesPerPage - 1)
	raw, err := b.tables.Get(ctx, b.at(first), pageSize, "BAT")
	if err != nil {
		return err
	}
	*p = page{first, raw}
	return nil
}
