package lifecycle

import (
	"context"
	"fmt"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/overlay"
)

// A volume may outlive what it rests on: a rebuild finds no disk that was not complete, and what was committed is nowhere else.

// lost is why there is nothing below the deltas where something should be, nil if that is not so.
func (v *Volume) lost(rec volumeRecord) error {
	if rec.Base == nil {
		return nil
	}
	if err := v.r.disks.lost(*rec.Base); err != nil {
		return fmt.Errorf("what it rests on: %w", err)
	}
	return nil
}

// openLost opens the deltas alone, to be read where they have something.
func (v *Volume) openLost(rec volumeRecord, lost error) (*overlay.Disk, error) {
	v.found(lost)
	d, err := v.openStack(rec, lostBase{rec.Base.Size, lost}, true)
	if err == nil {
		d.Forbid(lost)
	}
	return d, err
}

// lostBase is a disk of which nothing is left.
type lostBase struct {
	size int64
	why  error
}

// Size is the overlay.Base method.
func (b lostBase) Size() int64 { return b.size }

// ReadAt is the overlay.Base method.
func (b lostBase) ReadAt(context.Context, []byte, int64) (int, error) { return 0, b.why }

// Extent is the overlay.Base method: who reads it is told.
func (b lostBase) Extent(_ context.Context, off, n int64) (formats.Extent, error) {
	return formats.Extent{Off: off, Len: n, State: formats.Data}, nil
}
