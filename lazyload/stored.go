package lazyload

import (
	"context"
	"errors"
	"fmt"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/formats"
)

// stored is a disk's place in the block store.
type stored struct {
	store   Store
	disk    uint64
	changed bool // blocks in the store replace the image's
}

// fillStored fills v with the blocks in the store, and with runs of absent blocks from the image.
func (d *Disk) fillStored(ctx context.Context, v *View, scratch []byte, off, end int64) error {
	absent := off // start of the run of absent blocks that ends at off
	flush := func(at int64, from []byte) error {
		if absent == at {
			return nil
		}
		return d.fillFromImage(ctx, v, from[:at-absent], absent)
	}
	start := off
	for s := range pieces(off, end-off, blockstore.BlockSize) {
		e, err := d.stored.store.Lookup(d.stored.disk, s.unit/blockstore.BlockSize)
		if err != nil {
			return err
		}
		if e.State == blockstore.Absent {
			off += s.n
			continue
		}
		if err := flush(off, scratch[absent-start:]); err != nil {
			return err
		}
		if err := d.readBlock(ctx, v, e, scratch[off-start:][:s.n], s); err != nil {
			return err
		}
		off += s.n
		absent = off
	}
	return flush(end, scratch[absent-start:])
}

// readBlock adds a part of a block that is not absent to v, read into p unless it is zeros.
func (d *Disk) readBlock(ctx context.Context, v *View, e blockstore.Entry, p []byte, s piece) error {
	if e.State == blockstore.Zero {
		v.zero(s.n)
		return nil
	}
	v.Slices = append(v.Slices, p)
	return d.readKnown(ctx, e, p, s)
}

// readKnown reads a part of a block whose ID is known: from the store, or from the image if the
// store has lost it.
func (d *Disk) readKnown(ctx context.Context, e blockstore.Entry, p []byte, s piece) error {
	why := fmt.Errorf("block %s at %#x: %w", e.ID, s.unit, blockstore.ErrDamaged)
	if e.State == blockstore.Data {
		if why = d.stored.read(ctx, e.ID, p, s); !isLost(why) {
			return why
		}
	}
	img, err := d.image.get(ctx)
	if err != nil {
		return fmt.Errorf("%w, and it cannot be loaded again: %w", why, err)
	}
	return img.(*below).insteadOf(ctx, why, e.ID, p, s)
}

// read reads a part of a block. It quarantines a damaged block, so that the block can be saved
// again.
func (t *stored) read(ctx context.Context, id blockstore.ID, p []byte, s piece) error {
	err := t.store.Read(ctx, id, p, int(s.skip))
	switch {
	case errors.Is(err, blockstore.ErrNotFound):
		// It may have been evicted, or saved again, since the look-up.
		e, again := t.store.Lookup(t.disk, s.unit/blockstore.BlockSize)
		if again == nil && e.State == blockstore.Data {
			return t.store.Read(ctx, e.ID, p, int(s.skip))
		}
		return errors.Join(err, again)
	case errors.Is(err, blockstore.ErrDamaged):
		return errors.Join(err, t.store.Quarantine(ctx, id))
	}
	return err
}

// has reports whether the store has all blocks of the disk's n bytes at off.
func (t *stored) has(off, n int64) (bool, error) {
	for block := off / blockstore.BlockSize; block < blockstore.Blocks(off+n); block++ {
		e, err := t.store.Lookup(t.disk, block)
		if err != nil || e.State == blockstore.Absent || e.State == blockstore.Lost {
			return false, err
		}
	}
	return true, nil
}

// Extent returns an extent as formats.Image does. It does not open the image for blocks that are in
// the store.
func (d *Disk) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	if d.stored == nil || d.image.opened() != nil && !d.stored.changed {
		return d.imageExtent(ctx, off, n)
	}
	state, n, err := d.stored.run(off, n)
	if err != nil {
		return formats.Extent{}, err
	}
	if state == blockstore.Absent {
		return d.imageExtent(ctx, off, n)
	}
	return extentOf(state, off, n), nil
}

// run returns the state of the block at off, and how many of n bytes are in the same state. It
// looks at most a segment ahead.
func (t *stored) run(off, n int64) (state blockstore.State, length int64, err error) {
	for s := range pieces(off, min(n, blockstore.SegmentSize), blockstore.BlockSize) {
		e, err := t.store.Lookup(t.disk, s.unit/blockstore.BlockSize)
		if err != nil {
			return 0, 0, err
		}
		if length > 0 && e.State != state {
			break
		}
		state = e.State
		length += s.n
	}
	return state, length, nil
}

// extentOf returns the extent of a run of blocks that are not absent.
func extentOf(state blockstore.State, off, n int64) formats.Extent {
	if state == blockstore.Zero {
		return formats.Extent{Off: off, Len: n, State: formats.Zero}
	}
	return formats.Extent{Off: off, Len: n, State: formats.Data}
}

func (d *Disk) imageExtent(ctx context.Context, off, n int64) (formats.Extent, error) {
	img, err := d.image.get(ctx)
	if err != nil {
		return formats.Extent{}, err
	}
	return img.Extent(ctx, off, n)
}
