// Package raw is the format without a layout: the bytes of the file are the bytes of the disk. It claims no
// file by content; formats/all makes it the driver of what nobody claims. See docs/formats/raw.md.
package raw

import (
	"context"

	"github.com/imsfs/imsfs/formats"
)

const (
	name = "raw"
	// clusterSize is a choice, not a fact of the format: the granularity at which written files are sparse.
	clusterSize = 64 << 10
)

// Driver reads and writes raw disks.
type Driver struct{}

var (
	_ formats.Driver  = Driver{}
	_ formats.Creator = Driver{}
)

// Name is "raw".
func (Driver) Name() string { return name }

// Probe claims nothing: any bytes are a raw disk.
func (Driver) Probe(context.Context, formats.Source) (bool, error) { return false, nil }

// Open takes the whole source as a disk, rounded up to whole sectors.
func (Driver) Open(ctx context.Context, src formats.Source, opts formats.OpenOptions) (formats.Image, error) {
	if err := formats.NoSnapshot(name, opts); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	length := src.Size()
	if length > formats.MaxDiskSize {
		return nil, formats.Corrupt(name, 0, "a file of %d bytes: a disk has at most %d", length, int64(formats.MaxDiskSize))
	}
	img := &image{src: src, length: length, allocated: length}
	if sparse, ok := src.(formats.Sparse); ok {
		img.sparse = sparse
		img.allocated = min(sparse.Allocated(), length)
	}
	return img, nil
}

// image is the source's bytes, and zeros from length to the end of the last sector.
type image struct {
	src       formats.Source
	sparse    formats.Sparse // nil if the source knows no holes
	length    int64          // bytes in the source
	allocated int64
}

func (i *image) Info() formats.Info {
	return formats.Info{
		Format:      name,
		Size:        roundUp(i.length, formats.SectorSize),
		ClusterSize: clusterSize,
		Allocated:   i.allocated,
	}
}

func (i *image) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	if off >= i.length {
		return formats.Extent{Off: off, Len: n, State: formats.Zero}, nil
	}
	n = min(n, i.length-off)
	if i.sparse == nil {
		return formats.Extent{Off: off, Len: n, State: formats.Data}, nil
	}
	hole, run, err := i.sparse.Hole(ctx, off, n)
	if err != nil {
		return formats.Extent{}, err
	}
	state := formats.Data
	if hole {
		state = formats.Zero
	}
	return formats.Extent{Off: off, Len: run, State: state}, nil
}

func (i *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	stored := min(max(i.length-off, 0), int64(len(p)))
	clear(p[stored:])
	if stored == 0 {
		return nil
	}
	return i.src.ReadAt(ctx, p[:stored], off)
}

// roundUp wants a power of two.
func roundUp(n, unit int64) int64 { return (n + unit - 1) &^ (unit - 1) }
