package zvhd

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
)

// image is an open ZVHD file. It is immutable but for the known places, from which decoding can
// start.
type image struct {
	info    formats.Info
	src     formats.Source
	sum     [32]byte // of the headers and the size: an index bears it
	inflate *codec.PlaceDecoder
	chunks  chunkReader
	walked  *walked
	places  *places
	turn    chan struct{} // holds one token while a reader decodes to find places
	index   atomic.Pointer[index]
}

var _ formats.Indexed = (*image)(nil)

func (m *image) Info() formats.Info {
	info := m.info
	info.Details = slices.Clone(info.Details)
	return info
}

// Extent goes from chunk to chunk up to off if there is no index, and reads each one's header once.
// A run of zeros is maximal, one of data as long as is known by then.
func (m *image) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	block := off / blockSize
	h, err := m.find(ctx, block, ceilDiv(off+n, blockSize)-block)
	if err != nil {
		return formats.Extent{}, err
	}
	e := formats.Extent{Off: off, State: formats.Zero}
	end := off + n
	switch {
	case h.ok && int64(h.ref.block) == block:
		e.State, e.Compressed = formats.Data, true
		end = (block + h.run) * blockSize
	case h.ok:
		end = int64(h.ref.block) * blockSize
	}
	e.Len = min(off+n, end) - off
	return e, nil
}

func (m *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		block, in := off/blockSize, off%blockSize
		n := min(blockSize-in, int64(len(p)))
		h, err := m.find(ctx, block, 1)
		switch {
		case err != nil:
			return err
		case !h.ok || int64(h.ref.block) != block:
			clear(p[:n])
		default:
			if err := m.readBlock(ctx, p[:n], h.i, h.ref, in); err != nil {
				return err
			}
		}
		p, off = p[n:], off+n
	}
	return nil
}

// find looks in the index if there is one.
func (m *image) find(ctx context.Context, block, max int64) (hit, error) {
	if x := m.index.Load(); x != nil {
		h, err := x.find(ctx, block, max)
		if err == nil || !m.giveUp(ctx, x, err) {
			return h, err
		}
	}
	return m.walked.find(ctx, block, max)
}

// readBlock fills p with the bytes at offset in of the block in chunk i, by the index if there is
// one.
func (m *image) readBlock(ctx context.Context, p []byte, i int64, r ref, in int64) error {
	if x := m.index.Load(); x != nil {
		err := m.readIndexed(ctx, x, p, i, r, in)
		if err == nil || !m.giveUp(ctx, x, err) {
			return err
		}
	}
	return m.readForward(ctx, p, i, r, in)
}
