package overlay

import (
	"fmt"
	"sync/atomic"
)

// Flush makes all changes durable that were made before it was called. First the data are synced,
// then the bitmap's pages that name them are written and synced, so that a power cut never leaves
// a page without its data. Flushes that arrive while one runs share the next. After a failed sync
// the kernel may have dropped writes, so the disk takes no more writes and flushes.
func (d *Disk) Flush() error {
	want := d.asked.Add(1)
	d.flushing.Lock()
	defer d.flushing.Unlock()
	if d.done >= want {
		return nil
	}
	now := d.asked.Load()
	d.mu.RLock()
	err := d.flush()
	d.mu.RUnlock()
	if err == nil {
		d.done = now
	} else {
		d.giveUp()
	}
	return err
}

// giveUp makes the disk read-only if its files are not to be trusted any more; the caller holds flushing.
func (d *Disk) giveUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	failed := d.top().failed
	if failed == nil && d.pending != nil {
		failed = d.pending.failed
	}
	if failed != nil && d.readOnly == nil {
		d.readOnly = failed
	}
}

// flush does the work of Flush. The caller holds flushing, and mu in either mode.
func (d *Disk) flush() error {
	if d.readOnly != nil {
		return d.readOnly
	}
	if err := d.sumPartial(d.top()); err != nil {
		return err
	}
	if d.pending != nil { // first, because the top one may need it
		if err := d.sumPartial(d.pending); err != nil {
			return err
		}
		if err := d.pending.flushWritten(); err != nil {
			return err
		}
		d.pending = nil
	}
	return d.top().flushWritten()
}

// sumPartial makes sums of the units that were written in part.
func (d *Disk) sumPartial(one *delta) error {
	buf := wholes.Get().(*[Unit]byte)
	defer wholes.Put(buf)
	for u := range one.takePartial() {
		if err := d.sumUnit(one, u, buf[:]); err != nil {
			one.lacksSum(u)
			return err
		}
	}
	return nil
}

func (d *Disk) sumUnit(one *delta, u int64, buf []byte) error {
	if u >= units(one.size) {
		return nil
	}
	defer d.lock(u * Unit).Unlock()
	if one.state(u) != written {
		return nil
	}
	buf = buf[:min(Unit, one.size-u*Unit)]
	if err := one.readPlain(buf, u*Unit); err != nil {
		return err
	}
	return one.sums.put(u, u+1, written, func(int64) uint32 { return sumOf(buf) })
}

// flushWritten flushes all writes since the last flush began.
func (d *delta) flushWritten() error {
	unsynced := d.unsynced.Swap(false)
	err := d.flush(unsynced)
	if err != nil && unsynced {
		d.unsynced.Store(true)
	}
	return err
}

// wrote is said when data was written: a flush that was under way may not have seen it.
func (d *delta) wrote() {
	if !d.unsynced.Load() {
		d.unsynced.Store(true)
	}
}

// snapshot is a page as it is to be written.
type snapshot struct {
	page *page
	off  int64
	slot []byte
}

func (d *delta) flush(unsynced bool) error {
	if d.failed != nil {
		return d.failed
	}
	// The pages are copied before the data are synced, because the units they name have been
	// written by then.
	dirty := d.dirtyPages()
	err := d.write(dirty, unsynced)
	if err != nil {
		for _, s := range dirty {
			s.page.dirty.Store(true)
		}
		d.dirty.Store(true)
	}
	return err
}

func (d *delta) write(dirty []snapshot, unsynced bool) error {
	if len(dirty) > 0 {
		if err := d.unseal(); err != nil {
			return err
		}
	}
	if unsynced || len(dirty) > 0 { // a unit that a page names may be newer than the look at unsynced
		if err := d.sync(d.Data); err != nil {
			return err
		}
	}
	if len(dirty) == 0 {
		return nil
	}
	for _, s := range dirty {
		if _, err := d.Bitmap.WriteAt(s.slot, s.off); err != nil {
			return err
		}
	}
	if err := d.sync(d.Bitmap); err != nil {
		return err
	}
	for _, s := range dirty {
		s.page.seq++
		s.page.sum = slotSum(s.slot)
	}
	return nil
}

// dirtyPages copies them. Each goes to the slot that the one in use is not.
func (d *delta) dirtyPages() (found []snapshot) {
	if !d.dirty.Swap(false) {
		return nil
	}
	for i := range d.pages {
		p := d.pages[i].Load()
		if p == nil || !p.dirty.Swap(false) {
			continue
		}
		seq := p.seq + 1
		s := snapshot{p, pagesAt + int64(i)*pageStride + int64(seq%2)*pageSize, make([]byte, pageSize)}
		p.encode(s.slot, int64(i), seq)
		found = append(found, s)
	}
	return found
}

func (d *delta) sync(f File) error {
	if err := f.Sync(); err != nil {
		d.failed = fmt.Errorf("%s: what was written last may be lost: %w", d.Name, err)
	}
	return d.failed
}

// writeHeader writes one copy durably and then the other, so that one is always whole.
func (d *delta) writeHeader(h header) error {
	h.seq = d.seq + 1
	b := h.encode()
	for i := range int64(2) {
		if _, err := d.Bitmap.WriteAt(b, i*headerSize); err != nil {
			return err
		}
		if err := d.sync(d.Bitmap); err != nil {
			return err
		}
	}
	d.seq, d.clean, d.sum = h.seq, h.clean, h.sum
	if h.size != d.size || h.limit != d.limit { // else concurrent readers would race
		d.size, d.limit = h.size, h.limit
	}
	return nil
}

// seal marks the delta as clean, so that later damage can be told from the traces of a power cut.
func (d *delta) seal() error {
	if d.clean || d.failed != nil {
		return d.failed
	}
	if d.sums != nil {
		err := d.sums.writeHeader(d.seq + 1)
		if err == nil {
			err = d.sync(d.Sums)
		}
		if err != nil {
			return err
		}
	}
	d.begun.Store(false)
	h := d.header
	h.clean, h.sum = true, d.pagesSum()
	return d.writeHeader(h)
}

// unseal says that the delta is not as it was sealed any more; before it is changed.
func (d *delta) unseal() error {
	if !d.clean {
		return nil
	}
	h := d.header
	h.clean, h.sum = false, 0
	return d.writeHeader(h)
}

// mend completes a Resize that a kill cut off.
func (d *delta) mend() error {
	n, err := d.Data.Size()
	if err == nil && n != d.size {
		err = d.Data.Truncate(d.size)
	}
	if err != nil {
		return err
	}
	d.forget(d.size)
	return d.Bitmap.Truncate(bitmapSize(d.size)) // pages of a larger disk must not come back when it grows again
}

// forget makes all units past size absent.
func (d *delta) forget(size int64) {
	d.pages = d.pages[:min(pages(size), int64(len(d.pages)))]
	for u := units(size); u < int64(len(d.pages))*pageUnits; {
		next := u/pageUnits*pageUnits + pageUnits
		if p := d.pages[u/pageUnits].Load(); p != nil {
			if state, n := d.run(u, next); state != absent || u+n < next {
				d.set(u, next, absent)
			}
		}
		u = next
	}
}

// resize changes the size. New space reads as zeros, also where the disk was cut off before.
func (d *delta) resize(size int64) error {
	if err := d.Bitmap.Truncate(bitmapSize(max(size, d.size))); err != nil {
		return err
	}
	if size > d.size {
		if err := d.lengthen(size); err != nil {
			return err
		}
	}
	if err := d.unsumLast(size); err != nil {
		return err
	}
	h := d.header
	h.size, h.limit, h.clean, h.sum = size, min(h.limit, size), false, 0
	if err := d.writeHeader(h); err != nil {
		return err
	}
	if err := d.mend(); err != nil {
		return err
	}
	grown := make([]atomic.Pointer[page], pages(size))
	for i := range d.pages {
		grown[i].Store(d.pages[i].Load())
	}
	d.pages = grown
	if err := d.sums.resize(size); err != nil {
		return err
	}
	return d.flush(true)
}

// unsumLast takes the sums of the units that the old end or the new one cuts: they get other bytes.
func (d *delta) unsumLast(size int64) error {
	for _, end := range []int64{d.size, size} {
		u := end / Unit
		if end%Unit == 0 || u >= units(d.size) || d.state(u) != written {
			continue
		}
		if err := d.sums.unsum(u, u+1); err != nil {
			return err
		}
		d.lacksSum(u)
	}
	return nil
}

// lengthen makes the data file longer, durably, before the header says so: a unit that the old end cuts would lack bytes after a kill.
func (d *delta) lengthen(size int64) error {
	if err := d.unseal(); err != nil {
		return err
	}
	if err := d.Data.Truncate(size); err != nil {
		return err
	}
	return d.sync(d.Data)
}
