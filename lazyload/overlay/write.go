package overlay

import (
	"context"
	"sync"
)

// WriteAt writes p at off; all of it must be inside the disk. What it returns is how much was written before an error. What is
// written survives a kill or a power cut once Flush has returned.
func (d *Disk) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.writable(off, int64(len(p))); err != nil || len(p) == 0 {
		return 0, err
	}
	top := d.top()
	if state, n := top.bytes(off, int64(len(p))); state == written && n == int64(len(p)) {
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

func (d *Disk) writable(off, n int64) error {
	if d.readOnly != nil {
		return d.readOnly
	}
	return d.inside(off, n)
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
	_, err := top.Data.WriteAt(p[:n], off)
	top.wrote()
	if err != nil {
		return 0, err
	}
	top.set(u, units(off+n), written)
	return n, nil
}

// wholes are buffers of a unit.
var wholes = sync.Pool{New: func() any { return new([Unit]byte) }}

// makeWhole writes a unit that is not in the delta yet: p at off, which are in it, and around them what it had.
func (d *Disk) makeWhole(ctx context.Context, u int64, p []byte, off int64) error {
	top := d.top()
	buf := wholes.Get().(*[Unit]byte)
	defer wholes.Put(buf)
	whole := buf[:min(Unit, top.size-u*Unit)]
	if err := d.stack.read(ctx, 0, whole, u*Unit); err != nil {
		return err
	}
	copy(whole[off-u*Unit:], p)
	_, err := top.Data.WriteAt(whole, u*Unit)
	top.wrote()
	if err != nil {
		return err
	}
	top.set(u, u+1, written)
	return nil
}
