package overlay

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"

	"github.com/imsfs/imsfs/formats"
)

// stack is deltas, the top one first, over a base. Levels count from the top.
type stack struct {
	deltas []*delta
	base   Base // nil: nothing
}

// ReadAt fills p with the bytes at off; at the disk's end it is short and returns io.EOF. A unit that does not match its
// checksum is a DamagedError.
func (d *Disk) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	d.mu.RLock()
	n, err := d.stack.ReadAt(ctx, p, off)
	d.mu.RUnlock()
	var damage *DamagedError
	if err == nil || !errors.As(err, &damage) || !damage.sum {
		return n, err
	}
	// A concurrent write looks like damage. So the range is read again while all writers wait.
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stack.ReadAt(ctx, p, off)
}

func (s stack) size() int64 { return s.deltas[0].size }

func (s stack) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	n := min(int64(len(p)), max(s.size()-off, 0))
	if off < 0 {
		return 0, fmt.Errorf("a read at %d: %w", off, iofs.ErrInvalid)
	}
	if err := s.read(ctx, 0, p[:n], off); err != nil {
		return 0, err
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// read fills p with the bytes at off, as this level and those below have them.
func (s stack) read(ctx context.Context, level int, p []byte, off int64) error {
	if level == len(s.deltas) {
		return s.readBase(ctx, p, off)
	}
	d := s.deltas[level]
	// Only the part up to the limit shows the layers below. A delta may end before those above it.
	if end := max(d.size-off, 0); int64(len(p)) > end {
		clear(p[end:])
		p = p[:end]
	}
	for len(p) > 0 {
		state, n := d.bytes(off, int64(len(p)))
		var err error
		switch part := p[:n]; state {
		case written:
			err = d.readData(part, off)
		case zero:
			clear(part)
		case damaged:
			err = d.damage
		case absent:
			seen := min(max(d.limit-off, 0), n)
			clear(part[seen:])
			if seen > 0 {
				err = s.read(ctx, level+1, part[:seen], off)
			}
		}
		if err != nil {
			return err
		}
		off, p = off+n, p[n:]
	}
	return nil
}

// readData reads units that are written in the delta, and compares each with its sum.
func (d *delta) readData(p []byte, off int64) error {
	if d.sums == nil {
		return d.readPlain(p, off)
	}
	if head := off % Unit; head != 0 {
		n, err := d.readPart(p, off)
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	n := int64(len(p))
	if off+n < d.size {
		n = n / Unit * Unit
	}
	if n > 0 {
		if err := d.readUnits(p[:n], off); err != nil {
			return err
		}
	}
	if int64(len(p)) == n {
		return nil
	}
	_, err := d.readPart(p[n:], off+n)
	return err
}

// readPart reads from one unit, all of which is compared with its sum. It returns how much of p the unit has.
func (d *delta) readPart(p []byte, off int64) (int, error) {
	buf := wholes.Get().(*[Unit]byte)
	defer wholes.Put(buf)
	start := off / Unit * Unit
	whole := buf[:min(Unit, d.size-start)]
	if err := d.readUnits(whole, start); err != nil {
		return 0, err
	}
	return copy(p, whole[off-start:]), nil
}

// readUnits reads whole units and compares them with their sums.
func (d *delta) readUnits(p []byte, off int64) error {
	if err := d.readPlain(p, off); err != nil {
		return err
	}
	var sums [64]uint32
	for u := off / Unit; len(p) > 0; {
		n := min(units(int64(len(p))), int64(len(sums)))
		if err := d.sums.get(u, sums[:n]); err != nil {
			return err
		}
		for _, sum := range sums[:n] {
			unit := p[:min(Unit, len(p))]
			if sum != 0 && sum != sumOf(unit) {
				return &DamagedError{File: d.Name, Off: u * Unit, Rule: "the checksum does not match", sum: true}
			}
			p, u = p[len(unit):], u+1
		}
	}
	return nil
}

// readPlain reads from the data file.
func (d *delta) readPlain(p []byte, off int64) error {
	n, err := d.Data.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF):
		return &DamagedError{File: d.Name, Off: off + int64(n), Rule: "the file ends there, before what is written in it"}
	}
	return err
}

func (s stack) readBase(ctx context.Context, p []byte, off int64) error {
	n := int64(0)
	if s.base != nil {
		n = min(int64(len(p)), max(s.base.Size()-off, 0))
	}
	clear(p[n:])
	if n == 0 {
		return nil
	}
	if got, err := s.base.ReadAt(ctx, p[:n], off); int64(got) < n {
		return fmt.Errorf("the base, %d bytes at %d: %w", n, off, err)
	}
	return nil
}

// Extent returns the run of one state that starts at off, at most n bytes long: data, zeros, or nothing at all.
func (d *Disk) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.inside(off, n); err != nil {
		return formats.Extent{}, err
	}
	return d.stack.joined(ctx, off, n)
}

// joinedMost is how many extents are joined to one, so that an answer does not take forever.
const joinedMost = 4096

func (s stack) joined(ctx context.Context, off, n int64) (formats.Extent, error) {
	run, err := s.extent(ctx, 0, off, n)
	for i := 0; err == nil && run.Len < n && i < joinedMost; i++ {
		var e formats.Extent
		if e, err = s.extent(ctx, 0, run.End(), n-run.Len); err != nil || e.State != run.State {
			break
		}
		run.Len += e.Len
	}
	return run, err
}

func (s stack) extent(ctx context.Context, level int, off, n int64) (formats.Extent, error) {
	e := formats.Extent{Off: off, Len: n, State: formats.Unallocated}
	if level == len(s.deltas) {
		return s.baseExtent(ctx, e)
	}
	d := s.deltas[level]
	if off >= d.size {
		return e, nil
	}
	var state state
	state, e.Len = d.bytes(off, min(n, d.size-off))
	switch {
	case state == written || state == damaged: // a read of it returns the error
		e.State = formats.Data
	case state == zero:
		e.State = formats.Zero
	case off < d.limit:
		return s.extent(ctx, level+1, off, min(e.Len, d.limit-off))
	}
	return e, nil
}

func (s stack) baseExtent(ctx context.Context, e formats.Extent) (formats.Extent, error) {
	if s.base == nil || e.Off >= s.base.Size() {
		return e, nil
	}
	found, err := s.base.Extent(ctx, e.Off, min(e.Len, s.base.Size()-e.Off))
	if err != nil {
		return e, fmt.Errorf("the base, extents at %d: %w", e.Off, err)
	}
	return formats.Extent{Off: e.Off, Len: found.Len, State: found.State}, nil
}

func (s stack) close() error {
	var errs []error
	for _, d := range s.deltas {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}
