package overlay

import (
	"context"

	"github.com/imsfs/imsfs/formats"
)

// zeros is the source for parts of units that become zeros. It is never written to.
var zeros [Unit]byte

// Zero makes n bytes at off zeros. It frees the space of whole units.
func (d *Disk) Zero(ctx context.Context, off, n int64) error {
	if err := d.lockToWrite(off, n); err != nil {
		return err
	}
	defer d.mu.RUnlock()
	for n > 0 {
		part := min(region-off%region, n)
		if err := d.zeroRegion(ctx, off, part); err != nil {
			return err
		}
		off, n = off+part, n-part
	}
	return nil
}

// Discard makes the whole units in n bytes at off zeros, because the caller needs them no more.
func (d *Disk) Discard(ctx context.Context, off, n int64) error {
	first, end := units(off)*Unit, off+n
	if end < d.Size() {
		end = end / Unit * Unit
	}
	if n <= 0 || first >= end {
		return nil
	}
	return d.Zero(ctx, first, end-first)
}

func (d *Disk) zeroRegion(ctx context.Context, off, n int64) error {
	defer d.lock(off).Unlock()
	for end := off + n; off < end; {
		next := min((off/Unit+1)*Unit, end)
		whole := off%Unit == 0 && (next%Unit == 0 || next == d.top().size)
		if whole {
			next = d.wholeUnits(off, end)
		}
		err := error(nil)
		if whole {
			err = d.zeroUnits(ctx, off, next)
		} else {
			err = d.zeroPart(ctx, off, next-off)
		}
		if err != nil {
			return err
		}
		off = next
	}
	return nil
}

// wholeUnits is how far whole units reach.
func (d *Disk) wholeUnits(off, end int64) int64 {
	if end == d.top().size {
		return end
	}
	return max(end/Unit*Unit, off)
}

// zeroPart makes a part of a unit zeros.
func (d *Disk) zeroPart(ctx context.Context, off, n int64) error {
	e, err := d.stack.extent(ctx, 0, off, n)
	if err != nil || e.State != formats.Data && e.Len == n {
		return err
	}
	if d.top().state(off/Unit) != written {
		return d.makeWhole(ctx, off/Unit, zeros[:n], off)
	}
	return d.writeData(zeros[:n], off)
}

// zeroUnits makes whole units zeros, run by run. The state comes first: a unit that is zero is so whatever is in the file.
func (d *Disk) zeroUnits(ctx context.Context, off, end int64) error {
	top := d.top()
	for off < end {
		state, n := top.bytes(off, end-off)
		switch {
		case state == written:
			if err := d.setZero(off/Unit, units(off+n)); err != nil {
				return err
			}
			if err := top.Data.Punch(off, n); err != nil {
				return err
			}
			top.wrote()
		case state == absent && !d.nothingBelow(off):
			if err := d.setZero(off/Unit, units(off+n)); err != nil {
				return err
			}
		}
		off += n
	}
	return nil
}

func (d *Disk) setZero(u, end int64) error {
	top := d.top()
	if err := top.sums.reserve(u, end); err != nil {
		return err
	}
	if err := top.sums.put(u, end, zero, none); err != nil {
		return err
	}
	top.set(u, end, zero)
	return nil
}

// nothingBelow reports whether absent units at off read as zeros anyway.
func (d *Disk) nothingBelow(off int64) bool {
	return off >= d.top().limit || len(d.stack.deltas) == 1 && (d.stack.base == nil || off >= d.stack.base.Size())
}
