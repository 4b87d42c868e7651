package fs

import (
	"context"
	"time"

	"github.com/imsfs/imsfs/formats"
)

// extents is a disk that knows where its data is.
type extents interface {
	Size() int64
	Extent(ctx context.Context, off, n int64) (formats.Extent, error)
}

const (
	// longestSearch limits the cost of a small file that claims to be an endless disk. The tables of
	// a large disk on a slow source take some seconds to read.
	longestSearch = 10 * time.Second
	// shortestStep is the least that is looked at without a look at the time.
	shortestStep = 1 << 30
	// longestStep is how long a step may take before the next one is made shorter.
	longestStep = 50 * time.Millisecond
)

// seek returns the first offset from off on that is data or, if data is false, a hole; the disk's
// size if there is none. It goes in steps, so that it ends soon after its ctx. A search that takes
// too long returns an answer that is never wrong: that data begins where the search has got to, or
// that no hole follows. A program that copies the disk then reads zeros it could have left out.
func seek(ctx context.Context, d extents, off int64, data bool) (int64, error) {
	size := d.Size()
	limited, stop := context.WithTimeout(ctx, longestSearch)
	defer stop()
	tick := time.NewTicker(longestStep)
	defer tick.Stop()
	for step := int64(shortestStep); off < size; {
		e, err := d.Extent(limited, off, min(size-off, step))
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case limited.Err() != nil && data:
			return off, nil
		case limited.Err() != nil:
			return size, nil
		case err != nil:
			return 0, err
		case (e.State == formats.Data) == data:
			return off, nil
		}
		off = e.End()
		select {
		case <-tick.C:
			step = max(step/2, shortestStep)
		default:
			step = min(step, size/2) * 2
		}
	}
	return size, nil
}
