// Package raw is the format without a layout: the bytes of the file are the bytes of the disk. It
// claims no file by content; formats/all makes it the fallback. See docs/formats/raw.md.
package raw

import (
	"context"

	"github.com/imsfs/imsfs/formats"
)

const (
	name = "raw"
	// clusterSize is the granularity at which written files are sparse, too.
	clusterSize = formats.FlatClusterSize
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
	return formats.Flat(src, formats.Info{Format: name})
}
