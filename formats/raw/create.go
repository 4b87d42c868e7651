package raw

import (
	"context"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// Options is the formats.Creator method: there are none.
func (Driver) Options() []formats.Option { return nil }

// Create prepares a sparse file: clusters of zeros, which the caller leaves out, become holes.
func (Driver) Create(size int64, opts formats.CreateOptions) (formats.Encoder, error) {
	switch {
	case size <= 0 || size > formats.MaxDiskSize || size%formats.SectorSize != 0:
		return nil, fmt.Errorf("raw: a disk of %d bytes: the size must be a multiple of %d up to %d", size, formats.SectorSize, int64(formats.MaxDiskSize))
	case opts.Level != 0:
		return nil, fmt.Errorf("raw: compression level %d: raw disks are not compressed", opts.Level)
	}
	return encoder{size}, nil
}

// encoder puts every cluster where it stands in the disk.
type encoder struct{ size int64 }

func (encoder) ClusterSize() int64 { return clusterSize }

// Encode returns plain itself, without what lies behind the disk's end.
func (e encoder) Encode(_, plain []byte, ci int64) ([]byte, error) {
	return plain[:min(clusterSize, e.size-ci*clusterSize)], nil
}

func (encoder) Place(ci int64, _ int) (int64, error) { return ci * clusterSize, nil }

// Finish gives the file its size, which the last written cluster need not have reached.
func (e encoder) Finish(_ context.Context, dst formats.Target) error { return dst.Truncate(e.size) }
