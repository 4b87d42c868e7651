package overlay

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"

	"github.com/imsfs/imsfs/formats"
)

// stack is deltas, the topmost in front, and what they lie on. Its levels are counted from the top.
type stack struct {
	deltas []*delta
	base   Base // nil: nothing
}

// ReadAt fills p with the bytes at off; at the disk's end it is short and returns io.EOF.
func (d *Disk) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
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

// read fills p with what the levels from this one on have at off.
func (s stack) read(ctx context.Context, level int, p []byte, off int64) error {
	if level == len(s.deltas) {
		return s.readBase(ctx, p, off)
	}
	d := s.deltas[level]
	// What is below is only seen up to the limit; and a delta may end before those above it.
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

func (d *delta) readData(p []byte, off int64) error {
	n, err := d.Data.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF):
		return &DamagedError{d.Name, off + int64(n), "the file ends there, before what is written in it"}
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
	case state == written || state == damaged: // who reads it is told
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
