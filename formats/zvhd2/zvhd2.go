// Package zvhd2 reads, checks and writes ZVHD2, Huawei Cloud's image format for lazily loaded
// images: blocks compressed on their own, each in a chunk, and an index after them, so that any
// block is read without the others. docs/formats/zvhd2.md describes every byte; the names here are
// the format's own, where a block is the cluster of the rest of the project.
//
// layout.go decodes the structures, verify.go has the rules for a footer, tables.go the bitmap and
// the index, chunk.go reads one chunk. open.go and read.go (the image), check.go and create.go use
// them.
package zvhd2

import (
	"context"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
)

const name = "zvhd2"

// Driver is the formats.Driver of ZVHD2.
type Driver struct {
	zstd    *codec.Zstd
	zlib    *codec.Zlib
	buffers codec.Buffers // of a chunk, for all images
}

var (
	_ formats.Driver  = (*Driver)(nil)
	_ formats.Checker = (*Driver)(nil)
	_ formats.Creator = (*Driver)(nil)
)

// New makes a driver that decodes with z, which may serve others too.
func New(z *codec.Zstd) *Driver { return &Driver{zstd: z, zlib: codec.NewZlib()} }

func (d *Driver) Name() string { return name }

// Probe claims a source with the format's cookie at the start or in its last unit: a file with a
// damaged header can be read, and a truncated one has only its header.
func (d *Driver) Probe(ctx context.Context, src formats.Source) (bool, error) {
	size := src.Size()
	for _, at := range []int64{0, size - unit} {
		if at < 0 || at > size-int64(len(cookie)) {
			continue
		}
		var b [len(cookie)]byte
		if err := src.ReadAt(ctx, b[:], at); err != nil {
			return false, err
		}
		if string(b[:]) == cookie {
			return true, nil
		}
	}
	return false, nil
}

// decoder returns the codec of a compress_method that verify accepted.
func (d *Driver) decoder(method uint8) decoder {
	if method == methodZlib {
		return d.zlib
	}
	return d.zstd
}

// decoder fills dst from src, exactly.
type decoder interface{ Decode(dst, src []byte) error }
