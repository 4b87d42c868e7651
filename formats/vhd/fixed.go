package vhd

import (
	"context"
	"slices"

	"github.com/imsfs/imsfs/formats"
)

// fixedCluster is a choice: a fixed disk has no blocks.
const fixedCluster = 64 << 10

// fixed is a disk that lies before its footer as it is. Holes of the file are zeros of the disk, as
// with a raw one.
type fixed struct {
	src   formats.Source
	holes formats.Holes
	info  formats.Info
}

var _ formats.Image = (*fixed)(nil)

func newFixed(src formats.Source, info formats.Info) *fixed {
	info.ClusterSize, info.Allocated = fixedCluster, info.Size
	sparse, ok := src.(formats.Sparse)
	if ok {
		info.Allocated = min(sparse.Allocated(), info.Size)
	}
	return &fixed{src, formats.HolesOf(src), info}
}

func (m *fixed) Info() formats.Info { return cloned(m.info) }

func (m *fixed) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	if err := ctx.Err(); err != nil {
		return formats.Extent{}, err
	}
	return m.holes.Refine(ctx, formats.Extent{Off: off, Len: n, State: formats.Data}, off)
}

func (m *fixed) ReadAt(ctx context.Context, p []byte, off int64) error {
	return m.src.ReadAt(ctx, p, off)
}

// cloned returns a copy that callers can change.
func cloned(info formats.Info) formats.Info {
	info.Details = slices.Clone(info.Details)
	if info.Backing != nil {
		b := *info.Backing
		b.Paths = slices.Clone(b.Paths)
		info.Backing = &b
	}
	return info
}
