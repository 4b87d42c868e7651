package zvhd

import (
	"context"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
)

// Reading without an index. Where a piece's place is known and decoding would find no other, readers decode at once.
// Otherwise they take turns, a block at most in each: what one finds on its way the next one need not look for, so that
// however many read, together they make one pass.

// readForward fills p with the bytes at offset in of the block in chunk i.
func (m *image) readForward(ctx context.Context, p []byte, i int64, r ref, in int64) error {
	from, to := int(in/pieceSize), int(ceilDiv(in+int64(len(p)), pieceSize))
	for {
		if place, ok := m.places.between(pos(i, from), pos(i, to)); ok {
			return m.decodeAt(ctx, p, i, r, in, place)
		}
		done, err := m.takeTurn(ctx, p, i, r, in, from, to)
		if done || err != nil {
			return err
		}
	}
}

// takeTurn goes on from the nearest known place: to the end of p if that is in the same block, and then p is done, or
// else to the next block.
func (m *image) takeTurn(ctx context.Context, p []byte, i int64, r ref, in int64, from, to int) (done bool, err error) {
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-m.turn }()
	at, place := m.places.nearest(pos(i, from))
	s := &scan{from: place, q: int(at % pieces), to: to}
	j := at / pieces
	if j == i {
		return true, m.scan(ctx, s, p, in, i, r)
	}
	rj, _, err := m.walked.at(ctx, j)
	if err != nil {
		return false, err
	}
	s.to = pieces
	return false, m.scan(ctx, s, nil, 0, j, rj)
}

// scan decodes the block in chunk i and notes the places it finds.
func (m *image) scan(ctx context.Context, s *scan, dst []byte, off, i int64, r ref) error {
	if err := m.scanChunk(ctx, s, dst, off, i, r); err != nil {
		return err
	}
	for p := s.q + 1; p <= s.to; p++ {
		if p < pieces {
			m.places.add(pos(i, p), s.places[p])
		} else {
			m.places.add(pos(i+1, 0), s.next())
		}
	}
	return nil
}

// scanChunk reads the chunk and decodes it.
func (m *image) scanChunk(ctx context.Context, s *scan, dst []byte, off, i int64, r ref) error {
	buf, compressed, problem, err := m.chunks.read(ctx, i, r)
	defer m.chunks.buffers.Put(buf)
	if err != nil {
		return err
	}
	if problem == "" {
		if err := s.decode(dst, off, compressed); err != nil {
			problem = err.Error()
		}
	}
	return chunkError(r, problem)
}

// decodeAt decodes from a known place.
func (m *image) decodeAt(ctx context.Context, p []byte, i int64, r ref, in int64, from codec.Place) error {
	buf, compressed, problem, err := m.chunks.read(ctx, i, r)
	defer m.chunks.buffers.Put(buf)
	if err != nil {
		return err
	}
	if problem == "" {
		if err := m.inflate.DecodeAt(p, in, compressed[min(from.Bit/8, int64(len(compressed))):], from); err != nil {
			problem = err.Error()
		}
	}
	return chunkError(r, problem)
}

func chunkError(r ref, problem string) error {
	if problem == "" {
		return nil
	}
	return formats.Corrupt(name, r.off, "chunk of block %d: %s", r.block, problem)
}
