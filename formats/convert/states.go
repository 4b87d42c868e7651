package convert

import (
	"context"

	"github.com/imsfs/imsfs/formats"
)

// CompareStates returns the lowest offset at which one disk has data, zeros or nothing and the
// other something else of these, or -1 if there is none up to the shorter disk's end. Nothing is
// read but what tells the states.
func CompareStates(ctx context.Context, a, b formats.Image) (int64, error) {
	size := min(a.Info().Size, b.Info().Size)
	for off := int64(0); off < size; {
		ea, err := nextExtent(ctx, a.Extent, off, size-off)
		if err != nil {
			return 0, err
		}
		eb, err := nextExtent(ctx, b.Extent, off, size-off)
		if err != nil {
			return 0, err
		}
		if ea.State != eb.State {
			return off, nil
		}
		off = min(ea.End(), eb.End())
	}
	return -1, nil
}
