package overlay

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// WriteAt writes p at off; all of it must be inside the disk. It returns how much was written
// before an error. A write outlives the process at once. It survives a power cut once Flush has
// returned.
func (d *Disk) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := d.lockToWrite(off, int64(len(p))); err != nil {
		return 0, err
	}
	defer d.mu.RUnlock()
	top := d.top()
	if state, n := top.bytes(off, int64(len(p))); top.sums == nil && state == written && n == int64(len(p)) {
		n, err := top.Data.WriteAt(p, off)
		top.wrote()
		return n, err
	}
	done := 0
	for done < len(p) {
		n := int(min(region-off%region, int64(len(p)-done)))
		if err := d.writeRegion(ctx, p[done:done+n], off); err != nil {
			return done, err
		}
		done += n
		off += int64(n)
	}
	return done, nil
}

// lockToWrite takes mu for reading, for a change of n bytes at off, when the top delta is ready for that.
func (d *Disk) lockToWrite(off, n int64) error {
	for {
		d.mu.RLock()
		err := d.readOnly
		if err == nil {
			err = d.inside(off, n)
		}
		if err == nil && d.top().begun.Load() {
			return nil
		}
		d.mu.RUnlock()
		if err == nil {
			err = d.begin()
		}
		if err != nil {
			return err
		}
	}
}

// begin makes the top delta ready to be written to.
func (d *Disk) begin() error {
	d.flushing.Lock()
	defer d.flushing.Unlock()
	d.mu.RLock()
	top := d.top()
	err := top.failed
	if err == nil {
		err = top.begin()
	}
	d.mu.RUnlock()
	if err != nil {
		d.giveUp()
	}
	return err
}

// lock locks the region at off.
func (d *Disk) lock(off int64) *sync.Mutex {
	mu := &d.regions[off/region%stripes]
	mu.Lock()
	return mu
}

// writeRegion writes p, which lies in one region.
func (d *Disk) writeRegion(ctx context.Context, p []byte, off int64) error {
	defer d.lock(off).Unlock()
	for len(p) > 0 {
		n, err := d.writeUnits(ctx, p, off)
		if err != nil {
			return err
		}
		off, p = off+n, p[n:]
	}
	return nil
}

// writeUnits writes a part of p, from its beginning: of one unit, which is then made whole; or, in one go, all that needs
// nothing else. The caller holds the region's lock.
func (d *Disk) writeUnits(ctx context.Context, p []byte, off int64) (int64, error) {
	top, n := d.top(), int64(len(p))
	u := off / Unit
	end := min((u+1)*Unit, top.size)
	if (off > u*Unit || off+n < end) && top.state(u) != written {
		n = min(n, end-off)
		return n, d.makeWhole(ctx, u, p[:n], off)
	}
	last := (off + n - 1) / Unit
	if tail := (off + n) % Unit; tail != 0 && off+n < top.size && last > u && top.state(last) != written {
		n -= tail
	}
	if state, run := top.run(u, units(off+n)); state != written || run < units(off+n)-u {
		if err := top.room(n); err != nil {
			return 0, err
		}
	}
	if err := d.writeData(p[:n], off); err != nil {
		return 0, err
	}
	top.set(u, units(off+n), written)
	return n, nil
}

// budgetStep is how much is written between two looks at the free space.
const budgetStep = 1 << 20

// room returns an error if the file system has no room for n more bytes of new units.
func (d *delta) room(n int64) error {
	if d.Free == nil || d.budget.Add(-n) >= 0 {
		return nil
	}
	free, err := d.Free()
	if err != nil {
		return err
	}
	if free < d.Floor+n {
		d.budget.Store(0)
		return fmt.Errorf("write: %s: its file system has %d MiB free, and %d are kept for what frees space: %w",
			d.Name, free>>20, d.Floor>>20, unix.ENOSPC)
	}
	d.budget.Store(min(budgetStep, free-d.Floor-n))
	return nil
}

// writeData writes p and its units' words. Units that p covers partly are written already. The caller holds the region's lock.
func (d *Disk) writeData(p []byte, off int64) error {
	top, n := d.top(), int64(len(p))
	first, end := off/Unit, units(off+n)
	if err := top.sums.reserve(first, end); err != nil {
		return err
	}
	// A process that dies in between leaves units without sums, not with wrong ones.
	if err := top.sums.unsum(first, end); err != nil {
		return err
	}
	_, err := top.Data.WriteAt(p, off)
	top.wrote()
	whole, wholeEnd := first, end
	if off%Unit != 0 {
		top.lacksSum(first)
		whole++
	}
	if (off+n)%Unit != 0 && off+n < top.size && wholeEnd > whole {
		top.lacksSum(end - 1)
		wholeEnd--
	}
	if err != nil {
		for u := whole; u < wholeEnd; u++ {
			top.lacksSum(u)
		}
		return err
	}
	return top.sums.put(whole, wholeEnd, written, sumsIn(p, off))
}

// wholes are buffers of a unit.
var wholes = sync.Pool{New: func() any { return new([Unit]byte) }}

// makeWhole writes a unit that is not in the delta yet: p at off, and around it the bytes that the
// unit had.
func (d *Disk) makeWhole(ctx context.Context, u int64, p []byte, off int64) error {
	top := d.top()
	buf := wholes.Get().(*[Unit]byte)
	defer wholes.Put(buf)
	whole := buf[:min(Unit, top.size-u*Unit)]
	if err := d.stack.read(ctx, 0, whole, u*Unit); err != nil {
		return err
	}
	copy(whole[off-u*Unit:], p)
	if err := top.room(int64(len(whole))); err != nil {
		return err
	}
	if err := d.writeData(whole, u*Unit); err != nil {
		return err
	}
	top.set(u, u+1, written)
	return nil
}
