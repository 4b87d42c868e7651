package zvhd

import (
	"context"
	"fmt"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/formats/zstream"
)

// ref is where the chunk of a block lies.
type ref struct {
	off   int64
	block uint32
	size  uint32 // on disk, bytes
}

func (r ref) end() int64 { return r.off + int64(r.size) }

// payload returns the compressed bytes of the chunk that r names, or says why it is wrong.
func payload(chunk []byte, r ref) (compressed []byte, problem string) {
	h, problem := zstream.DecodeChunkHead(chunk)
	switch {
	case problem != "":
		return nil, problem
	case h.Block != r.block || h.Size() != int64(r.size):
		return nil, fmt.Sprintf("block number is %d and compressed size %d, which were others before", h.Block, h.Compressed)
	}
	return h.Payload(chunk)
}

// streamStart is where decoding starts in the first chunk, after the zlib header.
var streamStart = codec.Place{Bit: 16}

// checkStream checks the zlib header at the start of the first chunk's payload (RFC 1950, 2.2).
func checkStream(payload []byte) (problem string) {
	if len(payload) < 2 {
		return "the payload has no room for a zlib header"
	}
	cmf, flg := payload[0], payload[1]
	switch {
	case cmf&0xf != 8 || cmf>>4 > 7:
		return fmt.Sprintf("zlib header: the method is %#x, must be deflate with a window of at most 32 KiB", cmf)
	case (uint(cmf)<<8|uint(flg))%31 != 0:
		return fmt.Sprintf("zlib header: %02x %02x is no multiple of 31", cmf, flg)
	case flg&0x20 != 0:
		return "zlib header: a preset dictionary is asked for"
	}
	return ""
}

// chunkReader reads chunks into buffers of the driver's. It is safe for concurrent use.
type chunkReader struct {
	src     formats.Source
	buffers *codec.Buffers
}

// read returns the payload of the i-th stored chunk. The caller puts buf back. problem is about the
// chunk, err about the source.
func (c *chunkReader) read(ctx context.Context, i int64, r ref) (buf *[]byte, compressed []byte, problem string, err error) {
	buf = c.buffers.Get(int64(r.size))
	if err := c.src.ReadAt(ctx, *buf, r.off); err != nil {
		return buf, nil, "", fmt.Errorf("zvhd: chunk of block %d at %#x: %w", r.block, r.off, err)
	}
	compressed, problem = payload(*buf, r)
	if problem == "" && i == 0 {
		problem = checkStream(compressed)
	}
	return buf, compressed, problem, nil
}
