package vhd

import (
	"context"

	"github.com/imsfs/imsfs/formats"
)

// blocks is a dynamic or differencing disk. A stored block of a dynamic disk is data, whatever its
// sector bitmap says, as with qemu. In a differencing disk the bitmap decides sector by sector.
type blocks struct {
	src    formats.Source
	bat    *bat
	sparse bool // differencing: bitmaps count
	holes  formats.Holes
	info   formats.Info
}

var _ formats.Image = (*blocks)(nil)

func (m *blocks) Info() formats.Info { return cloned(m.info) }

// Extent ends with a page of the BAT, or with a block whose bitmap counts.
func (m *blocks) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	size := m.bat.blockSize
	block := off / size
	page, from, err := m.bat.page(ctx, block)
	if err != nil {
		return formats.Extent{}, err
	}
	at, stored, err := m.bat.place(block, page[(block-from)*entrySize:])
	if err != nil {
		return formats.Extent{}, err
	}
	var end int64
	if stored && m.sparse {
		end, stored, err = m.sectors(ctx, at, off%size, n)
		end += block * size
	} else if stored && m.holes.Known() {
		end = (block + 1) * size
	} else {
		end = m.bat.run(page, from, block, (off+n-1)/size+1, stored) * size
	}
	e := formats.Extent{Off: off, Len: min(end-off, n), State: formats.Unallocated}
	if err != nil || !stored {
		return e, err
	}
	e.State = formats.Data
	if !m.holes.Known() {
		return e, nil
	}
	return m.holes.Refine(ctx, e, at+m.bat.bitmap+off%size)
}

// sectors returns the end of the run of sectors that are present, or not, like the one at offset in
// of the block at at. The run has at most n bytes.
func (m *blocks) sectors(ctx context.Context, at, in, n int64) (end int64, present bool, err error) {
	bitmap, err := m.bat.cache.Get(ctx, at, int(m.bat.bitmap), "sector bitmap")
	if err != nil {
		return 0, false, err
	}
	limit := (min(in+n, m.bat.blockSize) + sectorSize - 1) / sectorSize
	end, present = sectorRun(bitmap, in/sectorSize, limit)
	return end * sectorSize, present, nil
}

// sectorRun returns the end, at most limit, of the run of sectors that are present, or not, like
// this one.
func sectorRun(bitmap []byte, sector, limit int64) (end int64, present bool) {
	present = bit(bitmap, sector)
	for end = sector + 1; end < limit && bit(bitmap, end) == present; end++ {
	}
	return end, present
}

// bit reports whether the bitmap has the sector: the first is the most significant bit of the first
// byte.
func bit(bitmap []byte, sector int64) bool { return bitmap[sector/8]<<(sector%8)&0x80 != 0 }

func (m *blocks) ReadAt(ctx context.Context, p []byte, off int64) error {
	size := m.bat.blockSize
	for len(p) > 0 {
		in := off % size
		n := min(size-in, int64(len(p)))
		if err := m.readBlock(ctx, p[:n], off/size, in); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// readBlock fills p with the bytes at offset in of one block.
func (m *blocks) readBlock(ctx context.Context, p []byte, block, in int64) error {
	at, stored, err := m.bat.lookup(ctx, block)
	switch {
	case err != nil:
		return err
	case !stored:
		clear(p)
		return nil
	case !m.sparse:
		return m.src.ReadAt(ctx, p, at+m.bat.bitmap+in)
	}
	for len(p) > 0 {
		end, present, err := m.sectors(ctx, at, in, int64(len(p)))
		if err != nil {
			return err
		}
		n := min(end-in, int64(len(p)))
		clear(p[:n])
		if present {
			err = m.src.ReadAt(ctx, p[:n], at+m.bat.bitmap+in)
		}
		if err != nil {
			return err
		}
		p, in = p[n:], in+n
	}
	return nil
}
