package zvhd2

import (
	"context"
	"slices"
	"sync"

	"github.com/imsfs/imsfs/formats"
)

// image is an open ZVHD2 file. All of it but the pools is immutable.
type image struct {
	info    formats.Info
	tables  *tables
	chunks  chunkReader
	scratch sync.Pool // *[]byte of one block, for reads of parts of a block
}

var _ formats.Image = (*image)(nil)

func newImage(d *Driver, src formats.Source, f footer, t *tables) *image {
	return &image{info: f.info(), tables: t, chunks: d.chunks(src, f.compressMethod)}
}

func (m *image) Info() formats.Info {
	info := m.info
	info.Details = slices.Clone(info.Details)
	return info
}

// Extent is maximal and costs no read of the source.
func (m *image) Extent(_ context.Context, off, n int64) (formats.Extent, error) {
	size := m.info.ClusterSize
	block := off / size
	limit := (off+n-1)/size + 1
	end := min(off+n, m.tables.runEnd(block, limit)*size)
	e := formats.Extent{Off: off, Len: end - off, State: formats.Zero}
	if m.tables.stored(block) {
		e.State, e.Compressed = formats.Data, true
	}
	return e, nil
}

func (m *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	size := m.info.ClusterSize
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

// readBlock fills p with the bytes at offset in of one block: straight if it is the whole block.
func (m *image) readBlock(ctx context.Context, p []byte, block, in int64) error {
	r, ok := m.tables.lookup(block)
	if !ok {
		clear(p)
		return nil
	}
	if int64(len(p)) == m.info.ClusterSize {
		return m.decode(ctx, p, r)
	}
	whole, _ := m.scratch.Get().(*[]byte)
	if whole == nil {
		fresh := make([]byte, m.info.ClusterSize)
		whole = &fresh
	}
	defer m.scratch.Put(whole)
	if err := m.decode(ctx, *whole, r); err != nil {
		return err
	}
	copy(p, (*whole)[in:])
	return nil
}

func (m *image) decode(ctx context.Context, dst []byte, r ref) error {
	problem, err := m.chunks.decode(ctx, dst, r)
	if problem != "" {
		return formats.Corrupt(name, r.off, "chunk of block %d: %s", r.block, problem)
	}
	return err
}
