package raw

import (
	"context"
	"errors"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

const (
	preallocation = "preallocation"
	// allocateStep keeps one call of the target short, so that the writer can be cancelled.
	allocateStep = 1 << 30
)

func (Driver) Options() []formats.Option {
	return []formats.Option{{Key: preallocation, Help: "off (usual): what is zero takes no space; full: all of the disk does"}}
}

// Create prepares a file whose clusters of zeros, which the caller leaves out, are holes, unless
// they are preallocated.
func (d Driver) Create(size int64, opts formats.CreateOptions) (formats.Encoder, error) {
	if err := formats.CheckSet(name, d.Options(), opts.Set); err != nil {
		return nil, err
	}
	switch {
	case size <= 0 || size%formats.SectorSize != 0:
		return nil, fmt.Errorf("raw: a disk of %d bytes: the size must be a positive multiple of %d", size, formats.SectorSize)
	case size > formats.MaxDiskSize:
		return nil, formats.TooLarge("raw: a disk of %d bytes: at most %d are written", size, int64(formats.MaxDiskSize))
	case opts.Level != 0:
		return nil, fmt.Errorf("raw: compression level %d: raw disks are not compressed", opts.Level)
	}
	e := encoder{size: size}
	switch value, set := opts.Set[preallocation]; {
	case value == "full":
		e.allocate = true
	case set && value != "off":
		return nil, fmt.Errorf("raw: %s=%q: must be off or full", preallocation, value)
	}
	return e, nil
}

// encoder puts every cluster where it stands in the disk.
type encoder struct {
	size     int64
	allocate bool // holes too
}

var _ formats.Encoder = encoder{}

func (e encoder) Room(data int64) int64 {
	if e.allocate {
		return e.size
	}
	return data
}

func (encoder) ClusterSize() int64 { return clusterSize }

// Encode returns plain itself, without the bytes after the disk's end.
func (e encoder) Encode(_, plain []byte, ci int64) ([]byte, error) {
	return plain[:min(clusterSize, e.size-ci*clusterSize)], nil
}

func (encoder) Place(ci int64, _ int) (int64, error) { return ci * clusterSize, nil }

// Finish gives the file its size, which the last written cluster need not have reached.
func (e encoder) Finish(ctx context.Context, dst formats.Target) error {
	if err := dst.Truncate(e.size); err != nil {
		return fmt.Errorf("raw: setting the file's size to %d: %w", e.size, err)
	}
	if !e.allocate {
		return nil
	}
	p, ok := dst.(formats.Preallocator)
	if !ok {
		return fmt.Errorf("raw: %s=full: space cannot be set aside where this is written: %w", preallocation, errors.ErrUnsupported)
	}
	for off := int64(0); off < e.size; off += allocateStep {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.Allocate(off, min(allocateStep, e.size-off)); err != nil {
			return fmt.Errorf("raw: %s=full: %w", preallocation, err)
		}
	}
	return nil
}
