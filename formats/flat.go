package formats

import (
	"context"
	"slices"
)

// FlatClusterSize is the cluster size of a Flat disk: a choice, not a fact of a format.
const FlatClusterSize = 64 << 10

// Flat is the disk whose bytes are the source's, with zeros up to the end of the last sector. Holes
// of the source are Zero. info has the facts that the driver knows; Flat sets the sizes.
func Flat(src Source, info Info) (Image, error) {
	length := src.Size()
	if length == 0 {
		return nil, Corrupt(info.Format, 0, "the file is empty")
	}
	if length > MaxDiskSize {
		return nil, Corrupt(info.Format, 0, "a file of %d bytes: a disk has at most %d", length, int64(MaxDiskSize))
	}
	info.Size = (length + SectorSize - 1) &^ (SectorSize - 1)
	info.ClusterSize = FlatClusterSize
	info.Allocated = length
	if sparse, ok := src.(Sparse); ok {
		info.Allocated = min(sparse.Allocated(), length)
	}
	return &flat{src: src, holes: HolesOf(src), length: length, info: info}, nil
}

type flat struct {
	src    Source
	holes  Holes
	length int64 // bytes in the source
	info   Info
}

func (f *flat) Info() Info {
	info := f.info
	info.Details = slices.Clone(info.Details)
	return info
}

func (f *flat) Extent(ctx context.Context, off, n int64) (Extent, error) {
	if off >= f.length {
		return Extent{Off: off, Len: n, State: Zero}, nil
	}
	n = min(n, f.length-off)
	return f.holes.Refine(ctx, Extent{Off: off, Len: n, State: Data}, off)
}

func (f *flat) ReadAt(ctx context.Context, p []byte, off int64) error {
	stored := min(max(f.length-off, 0), int64(len(p)))
	clear(p[stored:])
	if stored == 0 {
		return nil
	}
	return f.src.ReadAt(ctx, p[:stored], off)
}
