package lazyload

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/imsfs/imsfs/formats"
)

// fillUnit is what Load reads at once at least, so that a source is asked for large pieces.
const fillUnit = 1 << 20

// fillAtOnce is how many bytes are under way for each processor: some read or wait for a sync while others compress.
const fillAtOnce = 8 << 20

// Progress is how far a Load is.
type Progress struct {
	Done, Total int64 // bytes of the range
	Loaded      int64 // of Done, what was read from the image now
}

// Load brings the n bytes at off into the store, whole units of them, and returns when they are there. What is there already
// is not loaded again, so that a Load that was ended goes on where it was. progress, unless nil, is told after each piece;
// calls do not overlap. The errors are the image's and the store's; a disk without a store has nothing to load into.
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

// filling is one Load under way.
type filling struct {
	disk     *Disk
	progress func(Progress)
	buffers  sync.Pool // *[]byte

	mu    sync.Mutex // guards state, and keeps reports in order
	state Progress
}

func (l *filling) done(n, loaded int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Done += n
	l.state.Loaded += loaded
	if l.progress != nil {
		l.progress(l.state)
	}
}

// imageIfNeeded opens the image unless the store has the range already: then the source may be gone.
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

// maxZeros is how many zeros are entered between two reports of progress: a thousand segments.
const maxZeros = 16 << 30

// zeros enters the run of zeros at off, whole units of it, and returns its length.
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

// piece loads n bytes unless the store has them.
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
