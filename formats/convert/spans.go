package convert

import (
	"context"
	"iter"

	"github.com/imsfs/imsfs/formats"
)

// minUnit keeps the work on one span large against the cost of handing it out.
const minUnit = 1 << 20

// span is a unit of a disk that holds data. The last one may be shorter.
type span struct {
	off, n int64
	data   int64 // bytes of it that are in Data extents
}

// unitSize returns a size at which no compressed cluster is decoded twice and no target cluster is
// split. All are powers of two, so the largest is a multiple of the others.
func unitSize(targetCluster int64, images ...formats.Image) int64 {
	unit := max(minUnit, targetCluster)
	for _, img := range images {
		for _, layer := range layers(img) {
			if info := layer.Info(); info.Compression != "" {
				unit = max(unit, info.ClusterSize)
			}
		}
	}
	return unit
}

// layers are the images that one is made of, if it is a chain.
func layers(img formats.Image) []formats.Image {
	if chain, ok := img.(interface{ Layers() []formats.Image }); ok {
		return chain.Layers()
	}
	return []formats.Image{img}
}

// extentFunc is the Extent method of an image, or of several taken together.
type extentFunc func(ctx context.Context, off, n int64) (formats.Extent, error)

// spans yields in ascending order the units of [0, size) that hold data. It takes time by the
// number of extents and of units with data, not by the size of the empty parts.
func spans(ctx context.Context, extent extentFunc, size, unit int64) iter.Seq2[span, error] {
	return func(yield func(span, error) bool) {
		var s span
		for off := int64(0); off < size; {
			e, err := nextExtent(ctx, extent, off, size-off)
			if err != nil {
				yield(span{}, err)
				return
			}
			for off < e.End() && e.State == formats.Data {
				start := off &^ (unit - 1)
				if s.n > 0 && s.off != start && !yield(s, nil) {
					return
				}
				if s.n == 0 || s.off != start {
					s = span{off: start, n: min(unit, size-start)}
				}
				end := min(e.End(), start+unit)
				s.data += end - off
				off = end
			}
			off = e.End()
		}
		if s.n > 0 {
			yield(s, nil)
		}
	}
}

func nextExtent(ctx context.Context, extent extentFunc, off, n int64) (formats.Extent, error) {
	if err := ctx.Err(); err != nil {
		return formats.Extent{}, err
	}
	return extent(ctx, off, n)
}
