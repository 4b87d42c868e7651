package zvhd

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/formats/zstream"
)

// entry is that of a stored block in the index: where its chunk is, and its pieces' places.
type entry []byte

func (e entry) ref() ref {
	le := binary.LittleEndian
	return ref{off: int64(le.Uint64(e)), block: le.Uint32(e[8:]), size: le.Uint32(e[12:])}
}

func (e entry) putRef(r ref) {
	le := binary.LittleEndian
	le.PutUint64(e, uint64(r.off))
	le.PutUint32(e[8:], r.block)
	le.PutUint32(e[12:], r.size)
}

// indexed is a piece's place as the index has it.
type indexed struct {
	bit, plain uint32
	end        uint32 // offset in the payload: the piece's data go no further
	sum        uint32 // of the window
}

func (e entry) place(p int) indexed {
	b, le := e[16+p*placeSize:], binary.LittleEndian
	return indexed{le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint32(b[12:])}
}

func (e entry) putPlace(p int, s indexed) {
	b, le := e[16+p*placeSize:], binary.LittleEndian
	le.PutUint32(b, s.bit)
	le.PutUint32(b[4:], s.plain)
	le.PutUint32(b[8:], s.end)
	le.PutUint32(b[12:], s.sum)
}

// windowLen is the length of the window of a place in chunk i: full, but near the start of the
// stream.
func windowLen(i int64, plain uint32) int {
	if i == 0 {
		return int(min(windowSize, plain))
	}
	return windowSize
}

// windowAt is where the index has the window of a piece.
func windowAt(i int64, p int) int64 {
	return i/groupLen*groupSize + (i%groupLen*pieces+int64(p))*windowSize
}

// readIndexed fills p with the bytes at offset in of the block in chunk i.
func (m *image) readIndexed(ctx context.Context, x *index, p []byte, i int64, r ref, in int64) error {
	e, err := x.entry(ctx, i)
	if err != nil {
		return err
	}
	first, last := int(in/pieceSize), int((in+int64(len(p))-1)/pieceSize)
	s, end := e.place(first), e.place(last).end
	if s.bit/8 > end || end > r.size-zstream.ChunkHeaderSize || int64(s.plain) > in {
		return &indexError{formats.Corrupt(name, windowAt(i, first), "index: the place of piece %d of block %d is not in its chunk", first, r.block)}
	}
	window, _ := x.windows.Get().(*[]byte)
	if window == nil {
		fresh := make([]byte, windowSize)
		window = &fresh
	}
	defer x.windows.Put(window)
	from := codec.Place{Bit: int64(s.bit), Plain: int64(s.plain), Window: (*window)[:windowLen(i, s.plain)]}
	if err := x.readWindow(ctx, from.Window, windowAt(i, first), s.sum); err != nil {
		return err
	}
	buf := m.chunks.buffers.Get(int64(end - s.bit/8))
	defer m.chunks.buffers.Put(buf)
	at := r.off + zstream.ChunkHeaderSize + int64(s.bit/8)
	if err := m.src.ReadAt(ctx, *buf, at); err != nil {
		return fmt.Errorf("zvhd: chunk of block %d at %#x: %w", r.block, at, err)
	}
	if err := m.inflate.Decode(p, in, *buf, from); err != nil {
		return chunkError(r, err.Error())
	}
	return nil
}

func (x *index) readWindow(ctx context.Context, p []byte, at int64, sum uint32) error {
	if err := x.src.ReadAt(ctx, p, at); err != nil {
		return &indexError{fmt.Errorf("zvhd: index at %#x: %w", at, err)}
	}
	if crc32.Checksum(p, castagnoli) != sum {
		return &indexError{formats.Corrupt(name, at, "index: the checksum of a window is wrong")}
	}
	return nil
}
