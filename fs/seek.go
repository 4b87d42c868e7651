package fs

import (
	"context"

	"github.com/imsfs/imsfs/formats"
)

// extents is a disk that knows where its data is.
type extents interface {
	Size() int64
	Extent(ctx context.Context, off, n int64) (formats.Extent, error)
}

// A search looks at seekStep bytes of the disk at a time, so that it ends soon after its ctx, and at
// seekSteps of them at most, so that a small file that claims to be an endless disk costs little.
const (
	seekStep  = 16 << 30
	seekSteps = 4096
)

// seek returns the first offset from off on that is data or, if data is false, a hole; the disk's
// size if there is none. A search that takes too many steps returns an answer that is always right:
// that data begins where it has got to, or that no hole comes any more. Whoever copies the disk then
// reads zeros that he could have left out, and nothing worse.
func seek(ctx context.Context, d extents, off int64, data bool) (int64, error) {
	size := d.Size()
	for range seekSteps {
		if off >= size {
			return size, nil
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		e, err := d.Extent(ctx, off, min(size-off, seekStep))
		if err != nil {
			return 0, err
		}
		if (e.State == formats.Data) == data {
			return off, nil
		}
		off = e.End()
	}
	if data {
		return off, nil
	}
	return size, nil
}
