package lifecycle

import (
	"context"
	"fmt"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/overlay"
	"github.com/imsfs/imsfs/lifecycle/catalog"
)

// A volume may outlive the disk it rests on: a rebuild finds only complete disks, and committed
// blocks exist nowhere else.

// checkCommitted returns an error if the base of the volume was committed and is lost.
func (v *Volume) checkCommitted(rec catalog.Volume) error {
	if rec.Base == nil {
		return nil
	}
	if err := v.reg.pool.CheckCommitted(*rec.Base); err != nil {
		return fmt.Errorf("the disk it rests on: %w", err)
	}
	return nil
}

// openWithoutBase opens the deltas alone. They can be read where they have something.
func (v *Volume) openWithoutBase(rec catalog.Volume, lost error) (*overlay.Disk, error) {
	v.setDamage(lost)
	d, err := v.openStack(rec, lostBase{rec.Base.Size, lost}, true)
	if err == nil {
		d.Forbid(lost)
	}
	return d, err
}

// lostBase is a disk without any of its blocks.
type lostBase struct {
	size int64
	why  error
}

// Size returns the size that the disk had.
func (b lostBase) Size() int64 { return b.size }

// ReadAt fails.
func (b lostBase) ReadAt(context.Context, []byte, int64) (int, error) { return 0, b.why }

// Extent says that all is data: reading it then says why it is not.
func (b lostBase) Extent(_ context.Context, off, n int64) (formats.Extent, error) {
	return formats.Extent{Off: off, Len: n, State: formats.Data}, nil
}
