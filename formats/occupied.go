package formats

import "context"

const (
	// occupiedSteps bounds the walk of Occupied, and pageSteps is the cost of an extent so long
	// that the driver has likely read a page of a table for it. Together they allow 64,000 short
	// extents, or 128 MiB of tables.
	occupiedSteps = 1 << 16
	pageSteps     = 32
	pageSpan      = 16 << 20
)

// Occupied returns how many bytes of the disk are Data: Info.Allocated, or, if that is Unknown, the
// sum over all extents. If the walk would be long, or ctx ends, the rest is estimated. An estimate
// is at least a sector, because programs take a file without blocks for a hole. It is less than
// Size if there was a hole, because programs look for holes only then.
func Occupied(ctx context.Context, img Image) (int64, error) {
	info := img.Info()
	if info.Allocated != Unknown {
		return info.Allocated, nil
	}
	var data, off int64
	for steps := 0; off < info.Size && steps < occupiedSteps; steps++ {
		if ctx.Err() != nil {
			break
		}
		e, err := img.Extent(ctx, off, info.Size-off)
		if err != nil && ctx.Err() != nil {
			break
		}
		if err != nil {
			return 0, err
		}
		if e.State == Data {
			data += e.Len
			if e.Len >= pageSpan {
				steps += pageSteps
			}
		}
		off = e.End()
	}
	if off == info.Size {
		return data, nil
	}
	return estimate(data, off, info.Size), nil
}

// estimate extends the data found in the first walked bytes to a disk of size bytes.
func estimate(data, walked, size int64) int64 {
	if walked == 0 || data == walked {
		return size
	}
	share := float64(data) / float64(walked)
	return min(max(int64(share*float64(size)), SectorSize), size-SectorSize)
}
