package convert

import (
	"context"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// look is how much of a block is read at first to see whether it is all zeros; each next piece is
// twice as large.
const look = 64 << 10

// NonZero calls found with the number of each block of an image that is not all zeros, one call at
// a time and in no order. block is a power of two of at least 1 MiB. Parts without data are not
// read, and a block is read only up to its first byte that is not zero.
func NonZero(ctx context.Context, img formats.Image, block int64, cfg Config, found func(block int64)) error {
	data := spans(ctx, img.Extent, img.Info().Size, block)
	meter, err := newMeter(cfg.Progress, data)
	if err != nil {
		return err
	}
	turn := make(chan struct{}, 1) // holds a token while found is called
	return parallel(ctx, cfg.workers(), data, func() func(context.Context, span) error {
		p := make([]byte, block)
		return func(ctx context.Context, s span) error {
			zero, err := allZero(ctx, img, s, p)
			if err != nil {
				return err
			}
			if !zero {
				turn <- struct{}{}
				found(s.off / block)
				<-turn
			}
			meter.add(s.data)
			return nil
		}
	})
}

func allZero(ctx context.Context, img formats.Image, s span, p []byte) (bool, error) {
	for pos, n := int64(0), int64(look); pos < s.n; pos, n = pos+n, 2*n {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n = min(n, s.n-pos)
		if err := img.ReadAt(ctx, p[:n], s.off+pos); err != nil {
			return false, fmt.Errorf("reading the disk at %d: %w", s.off+pos, err)
		}
		if !formats.IsZero(p[:n]) {
			return false, nil
		}
	}
	return true, nil
}
