package formats

import (
	"context"
	"fmt"
	"io"
	"math/bits"
)

// checked enforces the contract of Image for all drivers and callers: requests lie within the disk,
// extents lie within the request and are not empty, and the disk has a possible size.
type checked struct {
	img  Image
	info Info
}

func check(img Image) (Image, error) {
	info := img.Info()
	switch {
	case info.Size < 0 || info.Size > MaxDiskSize:
		return nil, Corrupt(info.Format, 0, "a disk of %d bytes: the size must be at most %d", info.Size, int64(MaxDiskSize))
	case info.ClusterSize <= 0 || info.ClusterSize > MaxClusterSize || bits.OnesCount64(uint64(info.ClusterSize)) != 1:
		return nil, Corrupt(info.Format, 0, "clusters of %d bytes: the size must be a power of two up to %d", info.ClusterSize, MaxClusterSize)
	case info.SectorSize != 0 && info.SectorSize != SectorSize && info.SectorSize != LargeSectorSize:
		return nil, Corrupt(info.Format, 0, "sectors of %d bytes: the size must be %d or %d", info.SectorSize, SectorSize, LargeSectorSize)
	case info.Size%max(info.SectorSize, 1) != 0:
		return nil, Corrupt(info.Format, 0, "a disk of %d bytes: the size must be a multiple of its sectors of %d", info.Size, info.SectorSize)
	case info.Compression != "" && info.ClusterSize > MaxCompressedCluster:
		return nil, Corrupt(info.Format, 0, "compressed clusters of %d bytes: at most %d are read", info.ClusterSize, MaxCompressedCluster)
	}
	if info.SectorSize == 0 {
		info.SectorSize = SectorSize
	}
	c := checked{img, info}
	if ix, ok := img.(Indexed); ok {
		return &checkedIndexed{c, ix}, nil
	}
	return &c, nil
}

// checkedIndexed is checked for an Indexed image, so that the role stays visible.
type checkedIndexed struct {
	checked
	ix Indexed
}

func (c *checkedIndexed) IndexSize() int64 { return c.ix.IndexSize() }

func (c *checkedIndexed) BuildIndex(ctx context.Context, write func(p []byte) error) error {
	return c.ix.BuildIndex(ctx, write)
}

func (c *checkedIndexed) UseIndex(ctx context.Context, index Source) error {
	return c.ix.UseIndex(ctx, index)
}

func (c *checkedIndexed) UsesIndex() bool { return c.ix.UsesIndex() }

func (c *checked) Info() Info { return c.info }

func (c *checked) Extent(ctx context.Context, off, n int64) (Extent, error) {
	if off < 0 || n <= 0 || off > c.info.Size-n {
		return Extent{}, fmt.Errorf("%s: extent of [%d, +%d) on a disk of %d bytes: %w", c.info.Format, off, n, c.info.Size, io.ErrUnexpectedEOF)
	}
	e, err := c.img.Extent(ctx, off, n)
	if err != nil {
		return Extent{}, err
	}
	if e.Off != off || e.Len <= 0 || e.Len > n {
		return Extent{}, fmt.Errorf("%s: the driver answered extent [%d, +%d) to a request for [%d, +%d)", c.info.Format, e.Off, e.Len, off, n)
	}
	return e, nil
}

func (c *checked) ReadAt(ctx context.Context, p []byte, off int64) error {
	if off < 0 || off > c.info.Size-int64(len(p)) {
		return fmt.Errorf("%s: read of [%d, +%d) on a disk of %d bytes: %w", c.info.Format, off, len(p), c.info.Size, io.ErrUnexpectedEOF)
	}
	if len(p) == 0 {
		return nil
	}
	return c.img.ReadAt(ctx, p, off)
}
