// Package overlay is a writable disk over a read-only one.
//
// Writes go into a delta: a sparse file with the disk's own offsets, a bitmap that holds the state of each Unit, and a file
// of checksums. A unit's bytes are below (absent), in the file (written), or nowhere (zero). A Disk is a stack of deltas
// over a Base, or over nothing; the top delta takes the writes. Freeze puts a new delta on top, so that an image can be
// made of the others. Rebase then drops them, and Fold merges two of them.
//
//	write, zero       one pwrite if the unit is written already; else a unit is filled and its state changes
//	read              reads and extents, joined from all of the stack
//	flush             the order in which a flush makes things durable
//	resize, freeze    operations that make all others wait
//	fold              an operation that makes them wait for a moment
//	delta, page       the data file and the bitmap; docs/overlay.md has the layout
//	sums, verify      the checksums, which also outlive the process
//	dir, notes        the directory of deltas, and the notes that their owner keeps there
//
// The package knows files and a base. It knows no images, no names and no kernel.
package overlay

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"sync"
	"sync/atomic"

	"github.com/imsfs/imsfs/formats"
)

// Unit is the size of the pieces that a delta keeps a state for. A small write copies at most one
// from the base.
const Unit = 4096

// MaxSize is the largest disk.
const MaxSize = 64 << 40

// Base is an immutable disk below the deltas.
type Base interface {
	Size() int64
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	// Extent returns the run of one state that starts at off, at least 1 and at most n bytes long.
	Extent(ctx context.Context, off, n int64) (formats.Extent, error)
}

// region is the part of the disk that one lock guards while states change. A page has a whole
// number of regions.
const (
	region      = 1 << 20
	regionUnits = region / Unit
	stripes     = 64
)

// Disk is an open disk. It is safe for concurrent use. Writes that overlap end in some order, unit by unit.
type Disk struct {
	// mu is read-locked by reads and writes, and locked by changes of the stack or the size.
	mu       sync.RWMutex
	stack    stack
	readOnly error // why nothing can be written, nil if it can

	regions [stripes]sync.Mutex

	flushing sync.Mutex // taken before mu, and guards the following but for asked
	asked    atomic.Uint64
	done     uint64 // flushes up to this one are done
	pending  *delta // was frozen, and is not durable yet; nil: all below the top is
}

// Open opens a disk of deltas, the top one first, over base, which may be nil. The Disk owns the
// files from then on, also after an error. A damaged delta is a DamagedError. With salvage it is
// opened for reading only: reads that meet the damage fail, and Damage returns the reason.
func Open(deltas []Files, base Base, salvage bool) (d *Disk, err error) {
	d = &Disk{stack: stack{base: base}}
	defer func() {
		if err != nil {
			open := d.stack.deltas
			d = nil
			for _, one := range open {
				err = errors.Join(err, one.sums.close())
			}
			for _, f := range deltas {
				err = errors.Join(err, f.Close())
			}
		}
	}()
	if len(deltas) == 0 {
		return d, fmt.Errorf("a disk without a delta: %w", iofs.ErrInvalid)
	}
	for _, f := range deltas {
		one, err := openDelta(f, salvage)
		if err != nil {
			return d, err
		}
		if d.readOnly == nil {
			d.readOnly = one.damage
		}
		d.stack.deltas = append(d.stack.deltas, one)
	}
	if d.readOnly == nil {
		return d, d.top().mend()
	}
	return d, nil
}

func (d *Disk) top() *delta { return d.stack.deltas[0] }

// Forbid makes the disk one that can only be read, if it is not yet: its owner knows of damage below it.
func (d *Disk) Forbid(why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.readOnly == nil {
		d.readOnly = why
	}
}

// Damage is why a disk can only be read, nil if nothing is damaged.
func (d *Disk) Damage() error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.readOnly
}

// Size is the disk's size in bytes.
func (d *Disk) Size() int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.top().size
}

// Allocated is how many bytes the deltas have of the disk.
func (d *Disk) Allocated() int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	sum := int64(0)
	for _, one := range d.stack.deltas {
		sum += one.units.Load() * Unit
	}
	return sum
}

// Close flushes and gives the files back. Nothing else may be running. A disk that could not be flushed is closed as well.
func (d *Disk) Close() error {
	var err error
	if d.readOnly == nil {
		if err = d.Flush(); err == nil {
			err = d.top().seal()
		}
	}
	return errors.Join(err, d.stack.close())
}

// inside rejects a range that is not in the disk. The caller holds mu.
func (d *Disk) inside(off, n int64) error {
	if size := d.top().size; off < 0 || n < 0 || off > size-n {
		return fmt.Errorf("%d bytes at %d of a disk of %d bytes: %w", n, off, size, iofs.ErrInvalid)
	}
	return nil
}
