package convert

import (
	"context"

	"github.com/imsfs/imsfs/formats"
)

// CompareStates returns the lowest offset at which the disks have different states (data, zeros or
// nothing), or -1 up to the shorter disk's end. It reads metadata only.
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
