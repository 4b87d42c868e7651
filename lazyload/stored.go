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
	store Store
	disk  uint64
}

// fillStored fills a view from the store, block by block, and runs of absent blocks from the image.
func (d *Disk) fillStored(ctx context.Context, v *View, scratch []byte, off, end int64) error {
	absent := off // begin of the run of absent blocks that ends at off
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
		p := scratch[off-start:][:s.n]
		if e.State == blockstore.Zero {
			v.zero(s.n)
		} else if err := d.readBlock(ctx, v, e.ID, p, s); err != nil {
			return err
		}
		off += s.n
		absent = off
	}
	return flush(end, scratch[absent-start:])
}

// readBlock reads a part of a block into p, from the image if the store's bytes are damaged or gone.
func (d *Disk) readBlock(ctx context.Context, v *View, id blockstore.ID, p []byte, s piece) error {
	err := d.stored.read(ctx, id, p, s)
	if err == nil {
		v.Slices = append(v.Slices, p)
		return nil
	}
	if !errors.Is(err, blockstore.ErrDamaged) && !errors.Is(err, blockstore.ErrNotFound) {
		return err
	}
	if again := d.fillFromImage(ctx, v, p, s.unit+s.skip); again != nil {
		return fmt.Errorf("%w, and it cannot be loaded again: %w", err, again)
	}
	return nil
}

// read reads a part of a block. A damaged one is taken out of use, so that what is loaded in its place is saved.
func (t *stored) read(ctx context.Context, id blockstore.ID, p []byte, s piece) error {
	err := t.store.Read(ctx, id, p, int(s.skip))
	switch {
	case errors.Is(err, blockstore.ErrNotFound):
		// It may have been evicted, or saved anew, since it was looked up.
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

// has tells whether the store has all blocks of the disk's n bytes at off.
func (t *stored) has(off, n int64) (bool, error) {
	for block := off / blockstore.BlockSize; block < blockstore.Blocks(off+n); block++ {
		e, err := t.store.Lookup(t.disk, block)
		if err != nil || e.State == blockstore.Absent {
			return false, err
		}
	}
	return true, nil
}

// Extent is formats.Image's. What the store knows is told without opening the image.
func (d *Disk) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	if d.stored == nil || d.image.opened() != nil {
		return d.imageExtent(ctx, off, n)
	}
	var state blockstore.State
	e := formats.Extent{Off: off}
	for s := range pieces(off, min(n, blockstore.SegmentSize), blockstore.BlockSize) {
		entry, err := d.stored.store.Lookup(d.stored.disk, s.unit/blockstore.BlockSize)
		if err != nil {
			return e, err
		}
		if e.Len > 0 && entry.State != state {
			break
		}
		state = entry.State
		e.Len += s.n
	}
	switch state {
	case blockstore.Absent:
		return d.imageExtent(ctx, off, e.Len)
	case blockstore.Zero:
		e.State = formats.Zero
	case blockstore.Data:
		e.State = formats.Data
	}
	return e, nil
}

func (d *Disk) imageExtent(ctx context.Context, off, n int64) (formats.Extent, error) {
	img, err := d.image.get(ctx)
	if err != nil {
		return formats.Extent{}, err
	}
	return img.Extent(ctx, off, n)
}
