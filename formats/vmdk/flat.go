package vmdk

import (
	"context"

	"github.com/imsfs/imsfs/formats"
)

// flat is a flat extent: its bytes are those of a file from start on.
type flat struct {
	file  file
	start int64
	holes formats.Holes
}

// newFlat makes the extent of a line, for which the file must be long enough.
func newFlat(f file, line extentLine) (*flat, error) {
	start, size := line.offset*sector, line.sectors*sector // both at most formats.MaxDiskSize
	if f.Size() < start+size {
		return nil, f.corrupt(f.Size(), "the file ends here and must have %d bytes from %#x on for the extent", size, start)
	}
	return &flat{f, start, formats.HolesOf(f.Source)}, nil
}

// extent knows the file's holes if the source does, and calls them zeros.
func (x *flat) extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	return x.holes.Refine(ctx, formats.Extent{Off: off, Len: n, State: formats.Data}, x.start+off)
}

func (x *flat) readAt(ctx context.Context, p []byte, off int64) error {
	return x.file.read(ctx, p, x.start+off, "flat extent")
}

// zero is an extent without a file.
type zero struct{}

func (zero) extent(_ context.Context, off, n int64) (formats.Extent, error) {
	return formats.Extent{Off: off, Len: n, State: formats.Zero}, nil
}

func (zero) readAt(_ context.Context, p []byte, _ int64) error {
	clear(p)
	return nil
}
