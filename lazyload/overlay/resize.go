package overlay

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"

	"github.com/imsfs/imsfs/formats"
)

// Resize makes the disk larger or smaller, durably. New space reads as zeros.
func (d *Disk) Resize(size int64) error {
	if size < 0 || size > MaxSize {
		return fmt.Errorf("a disk of %d bytes: it may have %d: %w", size, int64(MaxSize), iofs.ErrInvalid)
	}
	d.flushing.Lock()
	defer d.flushing.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.flush(); err != nil {
		return err
	}
	if err := d.top().begin(); err != nil {
		return err
	}
	return d.top().resize(size)
}

// Freeze puts a new, empty delta on top, through which all of the disk shows, and returns the
// deltas below as a Frozen. Writers wait only for the exchange. Earlier writes are made durable
// after it, before any later write is. The Disk owns the files if a Frozen is returned. A Frozen
// beside an error is not durable yet; the next Flush tries again.
func (d *Disk) Freeze(f Files) (frozen *Frozen, err error) {
	top, err := openDelta(f, false)
	if err != nil {
		return nil, err
	}
	defer func() {
		if frozen == nil {
			err = errors.Join(err, top.sums.close())
		}
	}()
	if err := top.begin(); err != nil { // now, because no writer waits for it yet
		return nil, err
	}
	if err := d.Flush(); err != nil { // so that a flush after the exchange is short
		return nil, err
	}
	d.flushing.Lock()
	defer d.flushing.Unlock()
	below, err := d.push(top)
	if err != nil {
		return nil, err
	}
	d.mu.RLock()
	err = d.flush()
	d.mu.RUnlock()
	if err != nil {
		d.giveUp()
		return &Frozen{below}, err
	}
	// The delta is durable already. Without the seal, later damage is harder to tell.
	_ = below.deltas[0].seal()
	return &Frozen{below}, nil
}

// push puts a delta on top, while all wait, and returns the stack below it. The caller holds
// flushing.
func (d *Disk) push(top *delta) (below stack, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.readOnly != nil:
		return stack{}, d.readOnly
	case d.pending != nil: // since the Flush another Freeze failed
		return stack{}, fmt.Errorf("%s is not durable yet: %w", d.pending.Name, iofs.ErrInvalid)
	case top.size != d.top().size || top.limit != top.size:
		return stack{}, fmt.Errorf("a delta of %d bytes over a disk of %d: %w", top.limit, d.top().size, iofs.ErrInvalid)
	}
	below = d.stack
	d.pending = d.top()
	d.stack = stack{append([]*delta{top}, below.deltas...), below.base}
	return below, nil
}

// Rebase puts the top delta on another base, which must read as the layers below it do, and closes
// the other deltas. It returns the old base, which is no longer read.
func (d *Disk) Rebase(base Base) (Base, error) {
	d.mu.Lock()
	old := d.stack
	d.stack = stack{old.deltas[:1:1], base}
	d.mu.Unlock()
	return old.base, stack{deltas: old.deltas[1:]}.close()
}

// Frozen is a stack that a Freeze stopped. It can be read until the Rebase.
type Frozen struct{ stack }

// Size is its size in bytes.
func (f *Frozen) Size() int64 { return f.size() }

// Changed returns the first range from off on that the deltas decide, and not the base; n is 0 if
// there is none.
func (f *Frozen) Changed(off int64) (at, n int64) {
	for size := f.size(); off < size; {
		base, run := f.run(off, size-off)
		if !base {
			return off, run
		}
		off += run
	}
	return off, 0
}

// run reports whether the bytes at off are the base's, and for how many of n bytes that holds.
func (f *Frozen) run(off, n int64) (base bool, run int64) {
	for _, d := range f.deltas {
		if off >= d.size {
			return false, n
		}
		var s state
		if s, n = d.bytes(off, min(n, d.size-off)); s != absent || off >= d.limit {
			return false, n
		}
		n = min(n, d.limit-off)
	}
	return true, n
}

// Extent returns the run of one state that starts at off.
func (f *Frozen) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	return f.joined(ctx, off, n)
}
