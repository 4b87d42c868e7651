package lazyload

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/imsfs/imsfs/formats"
)

// fillUnit is the least that Load reads at once, so that a source gets large requests.
const fillUnit = 1 << 20

// fillAtOnce is the number of bytes that Load works on for each processor, so that some pieces are
// compressed while others are read or wait for a sync.
const fillAtOnce = 8 << 20

// errNoStore refuses to load a disk that is read through.
var errNoStore = errors.New("it is read through and not kept")

// Progress tells how far a Load is.
type Progress struct {
	Done, Total int64 // bytes of the range
	Loaded      int64 // the part of Done that this Load read from the image
}

// Load loads the n bytes at off, rounded to whole units, into the store and returns when they are
// saved. It skips blocks that the store has, so a Load that was interrupted can be repeated. After
// each piece it calls progress, unless that is nil; the calls do not overlap. It returns the
// image's and the store's errors, and errNoStore for a disk without a store.
func (d *Disk) Load(ctx context.Context, off, n int64, progress func(Progress)) error {
	if d.stored == nil {
		return fmt.Errorf("a disk without a store: %w", errNoStore)
	}
	unit := max(d.unit, fillUnit)
	end := min((off+n+unit-1)/unit*unit, d.size)
	off = off / unit * unit
	l := &filling{disk: d, progress: progress, state: Progress{Total: end - off}}
	img, err := l.imageIfNeeded(ctx, off, end)
	if err != nil || img == nil {
		return err
	}
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(max(fillAtOnce*runtime.GOMAXPROCS(0)/int(unit), 1))
	for off < end && working.Err() == nil {
		zeros, err := l.zeros(working, img, off, end, unit)
		if err != nil {
			group.Go(func() error { return err })
			break
		}
		if zeros > 0 {
			off += zeros
			continue
		}
		at, length := off, min(unit, end-off)
		group.Go(func() error { return l.piece(working, img, at, length) })
		off += length
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// filling is one running Load.
type filling struct {
	disk     *Disk
	progress func(Progress)
	buffers  sync.Pool // *[]byte

	mu    sync.Mutex // guards state, and orders calls of progress
	state Progress
}

// done adds n finished bytes, loaded of them from the image, and calls progress.
func (l *filling) done(n, loaded int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Done += n
	l.state.Loaded += loaded
	if l.progress != nil {
		l.progress(l.state)
	}
}

// imageIfNeeded returns the image, or nil if the store has the whole range already: then the source
// may be gone.
func (l *filling) imageIfNeeded(ctx context.Context, off, end int64) (formats.Image, error) {
	has, err := l.disk.stored.has(off, end-off)
	if err != nil {
		return nil, err
	}
	if has {
		l.done(end-off, 0)
		return nil, nil
	}
	return l.disk.image.get(ctx)
}

// maxZeros is the longest run of zeros between two calls of progress: a thousand segments.
const maxZeros = 16 << 30

// zeros records the run of zeros at off, rounded down to whole units, in the block map and returns
// its length.
func (l *filling) zeros(ctx context.Context, img formats.Image, off, end, unit int64) (int64, error) {
	run := int64(0)
	end = min(end, off+maxZeros)
	for off+run < end {
		e, err := img.Extent(ctx, off+run, end-off-run)
		if err != nil {
			return 0, err
		}
		if e.State == formats.Data {
			run = run / unit * unit
			break
		}
		run += e.Len
	}
	if run == 0 {
		return 0, nil
	}
	if err := l.disk.stored.store.Zero(ctx, l.disk.stored.disk, off, run); err != nil {
		return 0, err
	}
	l.done(run, 0)
	return run, nil
}

// piece loads the n bytes at off unless the store has them.
func (l *filling) piece(ctx context.Context, img formats.Image, off, n int64) error {
	has, err := l.disk.stored.has(off, n)
	if err != nil {
		return err
	}
	if has {
		l.done(n, 0)
		return nil
	}
	buf, _ := l.buffers.Get().(*[]byte)
	if buf == nil || int64(cap(*buf)) < n {
		b := make([]byte, n)
		buf = &b
	}
	defer l.buffers.Put(buf)
	p := (*buf)[:n]
	if err := img.ReadAt(ctx, p, off); err != nil {
		return fmt.Errorf("loading %d bytes at %#x: %w", n, off, err)
	}
	if err := l.disk.stored.store.Save(ctx, l.disk.stored.disk, off, p); err != nil {
		return err
	}
	l.done(n, n)
	return nil
}
