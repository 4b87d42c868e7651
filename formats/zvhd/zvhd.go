// Package zvhd reads, checks and writes ZVHD, the older of Huawei Cloud's image formats: blocks of
// 2 MiB, each in a chunk, and one zlib stream through all of them. docs/formats/zvhd.md describes
// every byte; the names here are the format's own.
//
// The format is meant to be read from front to back. But deflate refers back 32 KiB at most, so a
// reader that knows those bytes, a window, can start in the middle. There are pieces: eighths of a
// block, the clusters of the rest of the project. A piece's place is where decoding must start for
// it. In a file without an index places become known as one reader after the other goes on
// (forward.go); an index (index.go, build.go) has them all, and then any piece is decoded alone.
//
// layout.go decodes the header, verify.go verifies it, chunk.go reads one chunk, directory.go finds
// chunks, places.go keeps places in memory. open.go and read.go (the image), check.go and create.go
// use them.
package zvhd

import (
	"context"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
)

const name = "zvhd"

// Driver is the formats.Driver of ZVHD.
type Driver struct {
	inflate *codec.PlaceDecoder
	buffers codec.Buffers // of a chunk, for all images
}

var (
	_ formats.Driver  = (*Driver)(nil)
	_ formats.Checker = (*Driver)(nil)
	_ formats.Creator = (*Driver)(nil)
)

// New makes a driver.
func New() *Driver { return &Driver{inflate: codec.NewPlaceDecoder()} }

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
