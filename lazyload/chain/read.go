package chain

import (
	"context"

	"github.com/imsfs/imsfs/formats"
)

// Extent implements formats.Image. Its Depth is the layer that decides: of Data, the one to read. What no layer has is
// Unallocated at the last one that was asked, and reads as zeros.
func (c *Chain) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	e, err := c.layers[0].Extent(ctx, off, n)
	for depth := 1; err == nil && e.State == formats.Unallocated && depth < len(c.layers); depth++ {
		// A layer that is shorter than the one on it has nothing behind its end, one that is longer is cut.
		layer := c.layers[depth]
		left := layer.Info().Size - off
		if left <= 0 {
			break
		}
		e, err = layer.Extent(ctx, off, min(e.Len, left))
		e.Depth = depth
	}
	return e, err
}

// ReadAt implements formats.Image.
func (c *Chain) ReadAt(ctx context.Context, p []byte, off int64) error {
	return c.read(ctx, 0, p, off)
}

// run is a part of a read that one layer has, or the layers below it.
type run struct {
	off, end int64
	down     bool
}

// read fills p with what the layer and those below it have at off: first with what is further down, then with the
// layer's own, because the former may be read in larger pieces than are needed.
func (c *Chain) read(ctx context.Context, depth int, p []byte, off int64) error {
	layer := c.layers[depth]
	if depth > 0 {
		n := min(max(layer.Info().Size-off, 0), int64(len(p)))
		clear(p[n:])
		p = p[:n]
	}
	if depth == len(c.layers)-1 || len(p) == 0 {
		if len(p) == 0 && depth > 0 {
			return nil
		}
		return layer.ReadAt(ctx, p, off)
	}
	runs, err := split(ctx, layer, off, int64(len(p)))
	if err != nil {
		return err
	}
	for _, r := range widen(runs, c.below[depth], off, off+int64(len(p))) {
		if err := c.read(ctx, depth+1, p[r.off-off:r.end-off], r.off); err != nil {
			return err
		}
	}
	for _, r := range runs {
		if r.down {
			continue
		}
		if err := layer.ReadAt(ctx, p[r.off-off:r.end-off], r.off); err != nil {
			return err
		}
	}
	return nil
}

// split cuts a range into runs.
func split(ctx context.Context, layer formats.Image, off, n int64) ([]run, error) {
	var runs []run
	for end := off + n; off < end; {
		e, err := layer.Extent(ctx, off, end-off)
		if err != nil {
			return nil, err
		}
		down := e.State == formats.Unallocated
		if last := len(runs) - 1; last >= 0 && runs[last].down == down {
			runs[last].end = e.End()
		} else {
			runs = append(runs, run{off, e.End(), down})
		}
		off = e.End()
	}
	return runs, nil
}

// widen returns the runs that are further down, grown to whole clusters of the given size within [off, end): a compressed
// cluster that is needed in several places is so decoded once. A cluster of 0 bytes is none.
func widen(runs []run, cluster, off, end int64) []run {
	var wide []run
	for _, r := range runs {
		if !r.down {
			continue
		}
		if cluster > 0 {
			r.off = max(r.off&^(cluster-1), off)
			r.end = min((r.end+cluster-1)&^(cluster-1), end)
		}
		if last := len(wide) - 1; last >= 0 && r.off <= wide[last].end {
			wide[last].end = r.end
		} else {
			wide = append(wide, r)
		}
	}
	return wide
}

// largestBelow finds for each layer the largest compressed cluster of the layers below it.
func largestBelow(layers []formats.Image) []int64 {
	below := make([]int64, len(layers))
	for i := len(layers) - 2; i >= 0; i-- {
		below[i] = below[i+1]
		if info := layers[i+1].Info(); info.Compression != "" {
			below[i] = max(below[i], info.ClusterSize)
		}
	}
	return below
}
