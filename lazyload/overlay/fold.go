package overlay

import (
	"context"
	"fmt"
	iofs "io/fs"
	"slices"
)

const (
	foldStep  = region // how much is copied at once
	foldPages = 64     // how many pages are folded between two flushes, which copy them all
)

// Fold merges the two lowest deltas below the top one: the upper's content moves down into the
// lower. Writers use neither, and the lower is hidden where the upper has content, so readers and
// writers go on, and a kill changes nothing that is read. When all is durable, Fold calls leave,
// which must record durably that the upper delta is gone. Then it closes the upper, the lowest but
// one. No other Fold and no Rebase may run, and no Frozen of these deltas may be read.
func (d *Disk) Fold(ctx context.Context, leave func() error) error {
	if err := d.Flush(); err != nil { // also for a Freeze whose flush failed
		return err
	}
	upper, lower, err := d.lowest()
	if err != nil {
		return err
	}
	if err := d.fit(lower, upper); err != nil {
		return err
	}
	if err := lower.take(ctx, upper); err != nil {
		return err
	}
	if err := lower.seal(); err != nil {
		return err
	}
	if err := leave(); err != nil {
		return err
	}
	d.mu.Lock()
	n := len(d.stack.deltas)
	d.stack.deltas = slices.Concat(d.stack.deltas[:n-2], d.stack.deltas[n-1:])
	d.mu.Unlock()
	return upper.Close()
}

func (d *Disk) lowest() (upper, lower *delta, err error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.readOnly != nil {
		return nil, nil, d.readOnly
	}
	n := len(d.stack.deltas)
	if n < 3 {
		return nil, nil, fmt.Errorf("of %d deltas there are no two that stand still: %w", n, iofs.ErrInvalid)
	}
	return d.stack.deltas[n-2], d.stack.deltas[n-1], nil
}

// fit gives the lower delta the upper one's size, and cuts off the part that the upper hides. All wait
// meanwhile, as for a resize; mostly there is nothing to do.
func (d *Disk) fit(lower, upper *delta) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := lower.begin()
	if err == nil {
		err = lower.mend() // a kill may have cut off an earlier fold
	}
	if err == nil {
		err = lower.flush(false) // the mended part must not come back with a larger size
	}
	if err == nil && upper.limit < lower.size {
		err = lower.resize(upper.limit)
	}
	if err == nil && upper.size != lower.size {
		err = lower.resize(upper.size)
	}
	return err
}

// take copies all that another delta of the same size has, durably.
func (d *delta) take(ctx context.Context, from *delta) error {
	buf := make([]byte, foldStep)
	taken := 0
	for i := range from.pages {
		if from.pages[i].Load() == nil {
			continue
		}
		if err := d.takePage(ctx, from, int64(i), buf); err != nil {
			return err
		}
		if taken++; taken%foldPages == 0 {
			if err := d.flush(true); err != nil {
				return err
			}
		}
	}
	return d.flush(true)
}

func (d *delta) takePage(ctx context.Context, from *delta, number int64, buf []byte) error {
	first := number * pageUnits
	end := min(first+pageUnits, units(d.size))
	for u := first; u < end; {
		state, n := from.run(u, end)
		var err error
		switch state {
		case written:
			n = min(n, int64(len(buf))/Unit)
			err = d.takeData(ctx, from, u, n, buf)
		case zero:
			if err = d.takeZero(u, u+n); err == nil {
				err = d.Data.Punch(u*Unit, min(n*Unit, d.size-u*Unit))
			}
		}
		if err != nil {
			return err
		}
		u += n
	}
	return nil
}

// takeData copies n units from u on.
func (d *delta) takeData(ctx context.Context, from *delta, u, n int64, buf []byte) error {
	off := u * Unit
	buf = buf[:min(n*Unit, d.size-off)]
	err := ctx.Err()
	if err == nil {
		err = from.readData(buf, off)
	}
	if err == nil {
		err = d.sums.reserve(u, u+n)
	}
	if err == nil {
		err = d.sums.unsum(u, u+n)
	}
	if err == nil {
		_, err = d.Data.WriteAt(buf, off)
	}
	if err == nil {
		err = d.sums.put(u, u+n, written, sumsIn(buf, off))
	}
	if err != nil {
		return err
	}
	d.set(u, u+n, written)
	return nil
}

func (d *delta) takeZero(u, end int64) error {
	if err := d.sums.reserve(u, end); err != nil {
		return err
	}
	if err := d.sums.put(u, end, zero, none); err != nil {
		return err
	}
	d.set(u, end, zero)
	return nil
}
