package zvhd

import (
	"context"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
)

// Reading without an index. If a piece's place is known and decoding would find no other, readers
// decode at once. Otherwise they take turns of at most a block. Places that one reader finds are
// known to the next, so that however many read, together they make one pass.

// forward is one read of a part of a block.
type forward struct {
	m        *image
	p        []byte
	in       int64 // p's offset in the block
	i        int64 // the block's chunk, and
	r        ref   // where that is
	from, to int   // the pieces that p touches

	// How far the reader has come by itself. Others may push that out of the image's places.
	at    int64
	place codec.Place
}

// readForward fills p with the bytes at offset in of the block in chunk i.
func (m *image) readForward(ctx context.Context, p []byte, i int64, r ref, in int64) error {
	f := &forward{
		m: m, p: p, in: in, i: i, r: r,
		from: int(in / pieceSize), to: int(ceilDiv(in+int64(len(p)), pieceSize)), place: streamStart,
	}
	for {
		if place, ok := m.places.between(pos(i, f.from), pos(i, f.to)); ok {
			return m.decodeAt(ctx, p, i, r, in, place)
		}
		if done, err := f.takeTurn(ctx); done || err != nil {
			return err
		}
	}
}

// takeTurn goes on from the nearest known place: to the end of p if that is in the same block,
// which completes the read, or else to the next block.
func (f *forward) takeTurn(ctx context.Context) (done bool, err error) {
	m := f.m
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-m.turn }()
	if at, place := m.places.nearest(pos(f.i, f.from)); at > f.at {
		f.at, f.place = at, place
	}
	s := &scan{from: f.place, q: int(f.at % pieces), to: f.to}
	if f.at/pieces == f.i {
		return true, m.scan(ctx, s, f.p, f.in, f.i, f.r)
	}
	i := f.at / pieces
	r, _, err := m.walked.at(ctx, i)
	if err != nil {
		return false, err
	}
	s.to = pieces
	if err := m.scan(ctx, s, nil, 0, i, r); err != nil {
		return false, err
	}
	f.at, f.place = pos(i+1, 0), s.next()
	return false, nil
}

// scan decodes the block in chunk i and notes the places it finds. If dst is nil, it finds only the
// block's end.
func (m *image) scan(ctx context.Context, s *scan, dst []byte, off, i int64, r ref) error {
	if err := m.scanChunk(ctx, s, dst, off, i, r); err != nil {
		return err
	}
	for p := s.q + 1; p <= s.to && p < pieces && dst != nil; p++ {
		m.places.add(pos(i, p), s.places[p])
	}
	if s.to == pieces {
		m.places.add(pos(i+1, 0), s.next())
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
		if err := m.inflate.Decode(p, in, compressed[min(from.Bit/8, int64(len(compressed))):], from); err != nil {
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
