package overlay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"math/bits"
	"sync"
	"sync/atomic"
)

// delta is a pair of files that is open.
type delta struct {
	Files
	header // size and limit are guarded by Disk.mu, the rest by Disk.flushing

	pages    []atomic.Pointer[page] // nil: all absent
	sums     *sums                  // nil: it has none
	begun    atomic.Bool            // the header says that it is written to
	dirty    atomic.Bool            // a page is
	unsynced atomic.Bool            // data was written since the last flush began
	units    atomic.Int64           // that are written
	damage   error                  // damage that a salvage opened the delta with
	failed   error                  // of a sync: the files' content is unknown since; guarded by Disk.flushing

	budget atomic.Int64 // bytes that may be written before the free space is looked at again

	unsummed sync.Mutex
	partial  map[int64]struct{} // units that lack a sum since a part of them was written; guarded by unsummed
}

// Create writes a delta without any content into two empty files, durably but for their names.
func Create(f Files, size, limit int64) error {
	if size < 0 || size > MaxSize || limit < 0 || limit > size {
		return fmt.Errorf("a disk of %d bytes, %d of them from below: it may have %d: %w", size, limit, int64(MaxSize), iofs.ErrInvalid)
	}
	d := &delta{Files: f}
	if err := errors.Join(f.Data.Truncate(size), f.Bitmap.Truncate(bitmapSize(size))); err != nil {
		return err
	}
	h := header{seq: 1, size: size, limit: limit, clean: true, sum: d.pagesSum()}.encode()
	for i := range int64(2) {
		if _, err := f.Bitmap.WriteAt(h, i*headerSize); err != nil {
			return err
		}
	}
	return errors.Join(f.Bitmap.Sync(), f.Data.Sync())
}

func (d *delta) broken(off int64, rule string) error {
	return &DamagedError{File: d.Name + " (its bitmap)", Off: off, Rule: rule}
}

// openDelta reads a bitmap. With salvage, pages that cannot be read are lost, and damage says so.
func openDelta(f Files, salvage bool) (*delta, error) {
	d := &delta{Files: f}
	if err := d.readHeader(); err != nil {
		return nil, err
	}
	d.pages = make([]atomic.Pointer[page], pages(d.size))
	if err := d.found(d.checkBitmapSize()); err != nil {
		return nil, err
	}
	if err := d.readPages(); err != nil {
		return nil, err
	}
	d.checkSum()
	if err := d.readSums(); err != nil {
		return nil, err
	}
	for _, check := range []func() error{d.checkDataSize, d.checkEnd} {
		if err := d.found(check()); err != nil {
			return nil, errors.Join(err, d.sums.close())
		}
	}
	if d.damage != nil && !salvage {
		return nil, errors.Join(d.damage, d.sums.close())
	}
	return d, nil
}

// found notes damage, of which only the first counts, and returns every other error.
func (d *delta) found(err error) error {
	var damage *DamagedError
	if !errors.As(err, &damage) {
		return err
	}
	if d.damage == nil {
		d.damage = err
	}
	return nil
}

// checkSum compares the pages of a clean delta with the sum in its header. A torn slot is harmless if they agree without it.
func (d *delta) checkSum() {
	sum := d.pagesSum()
	if !d.clean || sum == d.sum || d.damage != nil {
		return
	}
	d.damage = d.broken(headerSum, fmt.Sprintf("the checksum of all pages is %#x, and must be %#x", sum, d.sum))
	anyTorn := false
	for i := range d.pages {
		if p := d.pages[i].Load(); p != nil && p.torn {
			anyTorn = true
			d.units.Add(-p.written())
			gone := lost()
			gone.seq, gone.sum = p.seq, p.sum
			d.pages[i].Store(gone)
		}
	}
	for i := range d.pages { // any page may be missing
		if !anyTorn {
			d.pages[i].CompareAndSwap(nil, lost())
		}
	}
}

// readSums opens the checksums. After a kill they hold the states of units that were written since
// the last flush. They also know the states of a damaged bitmap.
func (d *delta) readSums() error {
	if d.Sums == nil {
		return nil
	}
	s, trusted, err := openSums(d.Sums, d.Boot, d)
	if err := d.found(err); err != nil {
		return fmt.Errorf("the checksums of %s: %w", d.Name, err)
	}
	d.sums = s
	if s == nil || !trusted {
		return nil
	}
	d.begun.Store(!d.clean)
	if d.clean && d.damage == nil {
		return nil
	}
	if d.damage != nil && !s.bare {
		d.damage = nil
		for i := range d.pages {
			p := d.pages[i].Load()
			if p != nil && p.isLost {
				fresh := &page{seq: p.seq, sum: p.sum}
				fresh.dirty.Store(true)
				d.pages[i].Store(fresh)
				d.dirty.Store(true)
			}
		}
	}
	return d.adopt()
}

// adopt takes over the states that the words tell.
func (d *delta) adopt() error {
	b := make([]byte, pageSize)
	end := units(d.size)
	for at := int64(sumsHead); ; at += pageSize {
		next, err := d.Sums.NextData(at)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		at = max(at, next/pageSize*pageSize)
		n, err := d.Sums.ReadAt(b, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		first := (at - sumsHead) / wordSize
		for i := range int64(n / wordSize) {
			u, w := first+i, binary.LittleEndian.Uint64(b[i*wordSize:])
			if w == 0 || u >= end {
				continue
			}
			st, _, good := parseWord(u, w)
			if !good {
				st = damaged
				rule := fmt.Sprintf("the word of unit %d is damaged", u)
				if err := d.found(&DamagedError{File: d.Name + " (its checksums)", Off: at + i*wordSize, Rule: rule}); err != nil {
					return err
				}
			}
			if d.state(u) != st {
				d.set(u, u+1, st)
				d.wrote()
			}
		}
	}
}

func (d *delta) hasPages() bool {
	for i := range d.pages {
		if d.pages[i].Load() != nil {
			return true
		}
	}
	return false
}

// lacksSum notes that a unit has no sum.
func (d *delta) lacksSum(u int64) {
	if d.sums == nil {
		return
	}
	d.unsummed.Lock()
	defer d.unsummed.Unlock()
	if d.partial == nil {
		d.partial = map[int64]struct{}{}
	}
	d.partial[u] = struct{}{}
}

// takePartial returns the units that have no sum, and forgets them.
func (d *delta) takePartial() map[int64]struct{} {
	d.unsummed.Lock()
	defer d.unsummed.Unlock()
	units := d.partial
	d.partial = nil
	return units
}

// begin makes the files say that the delta is written to, before anything of it changes. The caller holds Disk.flushing.
func (d *delta) begin() error {
	if d.begun.Load() {
		return nil
	}
	if d.sums != nil {
		if err := d.sums.writeHeader(0); err != nil {
			return err
		}
		if err := d.unseal(); err != nil {
			return err
		}
	}
	d.begun.Store(true)
	return nil
}

// Close also ends the mapping.
func (d *delta) Close() error { return errors.Join(d.sums.close(), d.Files.Close()) }

// state returns where a unit's bytes are.
func (d *delta) state(u int64) state {
	p := d.pages[u/pageUnits].Load()
	if p == nil {
		return absent
	}
	u %= pageUnits
	return state(p.words[u/wordUnits].Load() >> (2 * (u % wordUnits)) & 3)
}

// run returns the state of unit u, and how many units from it on are in it, at most up to end.
func (d *delta) run(u, end int64) (state, int64) {
	s := d.state(u)
	next := u + 1
	for next < end {
		p, i := d.pages[next/pageUnits].Load(), next%pageUnits
		if p == nil {
			if s != absent {
				break
			}
			next += pageUnits - i
			continue
		}
		differ := (p.words[i/wordUnits].Load() ^ s.everywhere()) >> (2 * (i % wordUnits))
		if differ != 0 {
			next += int64(bits.TrailingZeros64(differ) / 2)
			break
		}
		next += wordUnits - i%wordUnits
	}
	return s, min(next, end) - u
}

// bytes returns the state at off, and for how many of n bytes it holds.
func (d *delta) bytes(off, n int64) (state, int64) {
	s, run := d.run(off/Unit, units(off+n))
	return s, min((off/Unit+run)*Unit-off, n)
}

// set puts units of one region into a state; the caller holds the region's lock.
func (d *delta) set(u, end int64, s state) {
	at := &d.pages[u/pageUnits]
	p := at.Load()
	if p == nil {
		at.CompareAndSwap(nil, &page{}) // the holder of another region of the page may be first
		p = at.Load()
	}
	first := u / pageUnits * pageUnits
	if more, changed := p.set(u-first, end-first, s); changed {
		d.units.Add(more)
		d.dirty.Store(true)
	}
}
