package zvhd2

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
)

// chunkHead is what a chunk's header says of itself.
type chunkHead struct {
	compressed uint32 // bytes behind the header
	block      uint32
}

// size is the chunk's length on disk.
func (h chunkHead) size() int64 {
	return roundUp(chunkHeaderSize+int64(h.compressed)+int64(len(chunkTrailer)), unit)
}

// decodeChunkHead reads the header in b. The compressed flag and the original size are the vendor's to write as 0
// and to ignore, so they are ignored.
func decodeChunkHead(b []byte) (h chunkHead, problem string) {
	if got := b[:len(chunkCookie)]; string(got) != chunkCookie {
		return h, fmt.Sprintf("cookie is %q, must be %q", got, chunkCookie)
	}
	return chunkHead{binary.LittleEndian.Uint32(b[12:]), binary.LittleEndian.Uint32(b[16:])}, ""
}

// encodeChunk closes the chunk in b, whose first chunkHeaderSize bytes are zeros and whose rest is the compressed
// block.
func encodeChunk(b []byte, block uint32) []byte {
	h := chunkHead{uint32(len(b) - chunkHeaderSize), block}
	copy(b, chunkCookie)
	binary.LittleEndian.PutUint32(b[12:], h.compressed)
	binary.LittleEndian.PutUint32(b[16:], h.block)
	padding := int(h.size()) - len(b) - len(chunkTrailer)
	b = append(b, make([]byte, padding)...)
	return append(b, chunkTrailer...)
}

// payload finds the compressed bytes in the chunk that r names. What lies between them and the trailer is not
// looked at: the vendor's tool leaves there what its buffer held before.
func payload(chunk []byte, r ref) (compressed []byte, problem string) {
	h, problem := decodeChunkHead(chunk)
	switch {
	case problem != "":
		return nil, problem
	case h.block != r.block:
		return nil, fmt.Sprintf("block number is %d, must be %d as in the index", h.block, r.block)
	case h.size() != int64(r.size):
		return nil, fmt.Sprintf("compressed size is %d, which takes %d bytes on disk, the index says %d", h.compressed, h.size(), r.size)
	}
	if got := chunk[len(chunk)-len(chunkTrailer):]; string(got) != chunkTrailer {
		return nil, fmt.Sprintf("the last four bytes are %q, must be %q", got, chunkTrailer)
	}
	return chunk[chunkHeaderSize : chunkHeaderSize+int(h.compressed)], ""
}

// chunkReader reads and decodes chunks. It is safe for concurrent use and reuses the driver's buffers.
type chunkReader struct {
	src     formats.Source
	codec   decoder
	buffers *codec.Buffers
}

// chunks makes a reader of chunks compressed by a compress_method that verify let through.
func (d *Driver) chunks(src formats.Source, method uint8) chunkReader {
	return chunkReader{src, d.decoder(method), &d.buffers}
}

// decode fills dst, a whole block, with the plain bytes of the chunk that r names. What is wrong with the chunk is
// told apart from what kept it from being read.
func (c *chunkReader) decode(ctx context.Context, dst []byte, r ref) (problem string, err error) {
	buf := c.buffers.Get(int64(r.size))
	defer c.buffers.Put(buf)
	if err := c.src.ReadAt(ctx, *buf, r.off); err != nil {
		return "", fmt.Errorf("zvhd2: chunk of block %d at %#x: %w", r.block, r.off, err)
	}
	compressed, problem := payload(*buf, r)
	if problem != "" {
		return problem, nil
	}
	if err := c.codec.Decode(dst, compressed); err != nil {
		return err.Error(), nil
	}
	return "", nil
}
