package zvhd2

import (
	"context"
	"fmt"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/formats/zstream"
)

// payload returns the compressed bytes of the chunk that r names, or says why it is wrong.
func payload(chunk []byte, r ref) (compressed []byte, problem string) {
	h, problem := zstream.DecodeChunkHead(chunk)
	switch {
	case problem != "":
		return nil, problem
	case h.Block != r.block:
		return nil, fmt.Sprintf("block number is %d, must be %d as in the index", h.Block, r.block)
	case h.Size() != int64(r.size):
		return nil, fmt.Sprintf("compressed size is %d, which takes %d bytes on disk, the index says %d", h.Compressed, h.Size(), r.size)
	}
	return h.Payload(chunk)
}

// chunkReader reads and decodes chunks. It is safe for concurrent use and reuses the driver's
// buffers.
type chunkReader struct {
	src     formats.Source
	codec   decoder
	buffers *codec.Buffers
}

// chunks makes a reader of chunks compressed by a compress_method that verify let through.
func (d *Driver) chunks(src formats.Source, method uint8) chunkReader {
	return chunkReader{src, d.decoder(method), &d.buffers}
}

// decode fills dst, a whole block, with the plain bytes of the chunk that r names. problem is about
// the chunk, err about the source.
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
