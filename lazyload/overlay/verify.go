package overlay

import (
	"context"
	"errors"
)

// Verified is the result of a Verify.
type Verified struct {
	Units  int64 // that are written
	Bare   int64 // of these, units that have no checksum yet
	Broken int64 // of these, units that do not match theirs or cannot be read
}

// Verify reads every unit that the deltas of the disk hold and compares it with its checksum. It calls damaged for each
// that does not match. progress, unless nil, gets the units of how many that are done.
func (d *Disk) Verify(ctx context.Context, progress func(done, total int64), damaged func(error)) (v Verified, err error) {
	d.mu.RLock()
	deltas := d.stack.deltas
	total := int64(0)
	for _, one := range deltas {
		total += one.units.Load()
	}
	d.mu.RUnlock()
	for _, one := range deltas {
		if err := d.verify(ctx, one, &v, total, progress, damaged); err != nil {
			return v, err
		}
	}
	return v, nil
}

// verifyStep is how many units are read under one hold of the lock.
const verifyStep = 64

func (d *Disk) verify(ctx context.Context, one *delta, v *Verified, total int64, progress func(done, total int64), damaged func(error)) error {
	for u := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		next, err := d.verifySome(one, u, v, damaged)
		if err != nil || next < 0 {
			return err
		}
		u = next
		if progress != nil {
			progress(v.Units, total)
		}
	}
}

// verifySome looks at the next units from u on, and returns where to go on; less than 0 is the end.
func (d *Disk) verifySome(one *delta, u int64, v *Verified, damaged func(error)) (next int64, err error) {
	d.mu.RLock()
	end := units(one.size)
	if u >= end {
		d.mu.RUnlock()
		return -1, nil
	}
	state, n := one.run(u, end)
	d.mu.RUnlock()
	if state != written {
		return u + n, nil
	}
	n = min(n, verifyStep)
	for at := u; at < u+n; at++ {
		if err := d.verifyUnit(one, at, v, damaged); err != nil {
			return 0, err
		}
	}
	return u + n, nil
}

func (d *Disk) verifyUnit(one *delta, u int64, v *Verified, damaged func(error)) error {
	buf := wholes.Get().(*[Unit]byte)
	defer wholes.Put(buf)
	d.mu.RLock()
	defer d.mu.RUnlock()
	if u >= units(one.size) {
		return nil
	}
	defer d.lock(u * Unit).Unlock() // writers of the unit wait
	if one.state(u) != written {
		return nil
	}
	v.Units++
	var sum [1]uint32
	if err := one.sums.get(u, sum[:]); err != nil {
		return err
	}
	if sum[0] == 0 {
		v.Bare++
	}
	err := one.readData(buf[:min(Unit, one.size-u*Unit)], u*Unit)
	var damage *DamagedError
	if errors.As(err, &damage) {
		v.Broken++
		damaged(damage)
		return nil
	}
	return err
}
