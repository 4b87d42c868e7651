// Package iso recognises images of CDs and DVDs among raw disks: a file with the volume descriptors
// of ISO 9660 or UDF is claimed, and its bytes are the disk's as they are. The content is only
// looked at for Info.Details. See docs/formats/iso.md.
//
// volume.go finds the volume descriptors, udf.go UDF's label; details.go shows both.
package iso

import (
	"context"

	"github.com/imsfs/imsfs/formats"
)

const name = "iso"

// Driver reads disks with ISO 9660 or UDF.
type Driver struct{}

var _ formats.Driver = Driver{}

// Name is "iso".
func (Driver) Name() string { return name }

// Probe claims a source with ISO 9660's primary volume descriptor or UDF's recognition sequence.
// The system area before them may hold anything, usually a partition table. If it holds the header
// of an image of another format, that driver claims the source as well, and Set.Probe refuses it.
func (Driver) Probe(ctx context.Context, src formats.Source) (bool, error) {
	v, err := recognize(ctx, src)
	return v.found(), err
}

// Open takes the whole source as a disk, rounded up to whole sectors, as raw does.
func (Driver) Open(ctx context.Context, src formats.Source, opts formats.OpenOptions) (formats.Image, error) {
	if err := formats.NoSnapshot(name, opts); err != nil {
		return nil, err
	}
	v, err := recognize(ctx, src)
	if err != nil {
		return nil, err
	}
	if !v.found() {
		return nil, formats.Corrupt(name, descriptorsAt, "neither a primary volume descriptor of ISO 9660 nor a recognition sequence of UDF")
	}
	details, err := v.details(ctx, src)
	if err != nil {
		return nil, err
	}
	return formats.Flat(src, formats.Info{Format: name, Details: details})
}
