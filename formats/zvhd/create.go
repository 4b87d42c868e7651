package zvhd

import (
	"context"
	"fmt"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/formats/zstream"
)

// maxCreateSize is the largest disk whose blocks have numbers of 32 bits.
const maxCreateSize = 1 << 32 * blockSize

// encoder writes the same as the vendor's tool. The one zlib stream consists of pieces, one a
// block, which are encoded in parallel: each may refer to the plain bytes before it, and those need
// not be encoded for that.
type encoder struct {
	header  header
	deflate *codec.ChainEncoder
	last    int64 // the block placed last, -1 if none is
	stored  int64
	end     int64 // of the last chunk placed
}

var _ formats.Estimator = (*encoder)(nil)

var _ formats.Chained = (*encoder)(nil)

func (*Driver) Options() []formats.Option {
	return []formats.Option{formats.UUIDOption(), formats.TimestampOption()}
}

func (d *Driver) Create(size int64, opts formats.CreateOptions) (formats.Encoder, error) {
	switch {
	case size <= 0 || size%512 != 0:
		return nil, fmt.Errorf("zvhd: a disk of %d bytes: the size must be a positive multiple of 512", size)
	case size > maxCreateSize:
		return nil, formats.TooLarge("zvhd: a disk of %d bytes: at most %d are written", size, int64(maxCreateSize))
	}
	if err := formats.CheckSet(name, d.Options(), opts.Set); err != nil {
		return nil, err
	}
	if err := formats.CheckSector(name, opts); err != nil {
		return nil, err
	}
	z, err := codec.NewChainEncoder(opts.Level)
	if err != nil {
		return nil, fmt.Errorf("zvhd: %w", err)
	}
	e := &encoder{deflate: z, last: -1, end: unit, header: header{
		Header: zstream.New(cookie, size, opts),
	}}
	e.header.Checksum = zstream.Sum(e.header.encode())
	return e, nil
}

// Room is 0, because only compressing the disk shows its size.
func (*encoder) Room(int64) int64 { return 0 }

func (e *encoder) ClusterSize() int64 { return blockSize }

func (e *encoder) Reach() int { return codec.DeflateWindow }

// Encode encodes the first stored block.
func (e *encoder) Encode(dst, plain []byte, ci int64) ([]byte, error) {
	return e.EncodeAfter(dst, plain, ci, nil)
}

func (e *encoder) EncodeAfter(dst, plain []byte, ci int64, before []byte) ([]byte, error) {
	if int64(len(plain)) != blockSize || ci < 0 || ci >= e.header.blocks() {
		return nil, fmt.Errorf("zvhd: %d bytes for block %d: blocks are %d bytes and there are %d", len(plain), ci, blockSize, e.header.blocks())
	}
	dst = append(dst[:0], make([]byte, zstream.ChunkHeaderSize)...)
	if before == nil {
		dst = append(dst, zlibHeader(e.deflate.Level())...)
	}
	return zstream.EncodeChunk(e.deflate.Encode(dst, plain, before), uint32(ci)), nil
}

// zlibHeader begins a stream (RFC 1950, 2.2): deflate with a window of 32 KiB, and how hard it was
// tried.
func zlibHeader(level int) []byte {
	switch {
	case level == 1:
		return []byte{0x78, 0x01}
	case level < 6:
		return []byte{0x78, 0x5e}
	case level == 6:
		return []byte{0x78, 0x9c}
	}
	return []byte{0x78, 0xda}
}

func (e *encoder) Place(ci int64, n int) (int64, error) {
	switch {
	case ci <= e.last || ci >= e.header.blocks():
		return 0, fmt.Errorf("zvhd: block %d after block %d: blocks are placed in ascending order and there are %d", ci, e.last, e.header.blocks())
	case n <= 0 || n%unit != 0 || n > maxChunkSize:
		return 0, fmt.Errorf("zvhd: a chunk of %d bytes for block %d: it must be whole units of 4096, at most %d", n, ci, maxChunkSize)
	case e.stored == maxWalked:
		return 0, fmt.Errorf("zvhd: %d stored blocks are all that is read back without an index", maxWalked)
	}
	off := e.end
	e.last, e.stored, e.end = ci, e.stored+1, off+int64(n)
	return off, nil
}

func (e *encoder) Finish(ctx context.Context, dst formats.Target) error {
	for _, at := range []int64{0, e.end} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := dst.WriteAt(e.header.encode(), at); err != nil {
			return fmt.Errorf("zvhd: writing the header at %#x: %w", at, err)
		}
	}
	if err := dst.Truncate(e.end + unit); err != nil {
		return fmt.Errorf("zvhd: setting the file's size to %d: %w", e.end+unit, err)
	}
	return nil
}
