package formats

import (
	"context"
	"iter"
)

// Extents yields the maximal extents that tile [off, off+n) of the image, in order. An error ends
// it.
func Extents(ctx context.Context, img Image, off, n int64) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		var run Extent
		for end := off + n; off < end; {
			if err := ctx.Err(); err != nil {
				yield(Extent{}, err)
				return
			}
			e, err := img.Extent(ctx, off, end-off)
			if err != nil {
				yield(Extent{}, err)
				return
			}
			off = e.End()
			if run.Len > 0 && run.State == e.State && run.Compressed == e.Compressed && run.Depth == e.Depth {
				run.Len += e.Len
				continue
			}
			if run.Len > 0 && !yield(run, nil) {
				return
			}
			run = e
		}
		if run.Len > 0 {
			yield(run, nil)
		}
	}
}

// DataBytes returns how many bytes of an image are in data extents. It walks all of them.
func DataBytes(ctx context.Context, img Image) (n int64, err error) {
	for e, err := range Extents(ctx, img, 0, img.Info().Size) {
		if err != nil {
			return 0, err
		}
		if e.State == Data {
			n += e.Len
		}
	}
	return n, nil
}
