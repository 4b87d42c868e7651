package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/inspect"
	"github.com/imsfs/imsfs/inspect/disk"
)

const (
	// maxLook is the time that one look into a disk may take.
	maxLook = 30 * time.Second
	// maxLookReads is how many bytes one look may read.
	maxLookReads = 1 << 30
	// maxReports is how many reports are made at a time; others wait within their own time.
	maxReports = 2
	// maxKept is how many images' parts are remembered, keepParts how long after their last use.
	maxKept   = 16
	keepParts = time.Minute
)

// insides looks into disks, each time through a handle that it closes again. It remembers which
// parts the images have that it looked into last, because an image never changes.
type insides struct {
	now     func() time.Time
	reports chan struct{} // holds a token for each report that is being made

	mu   sync.Mutex // guards the following
	kept map[uint64]keptParts
}

// keptParts are the parts of an image, and when they were used last.
type keptParts struct {
	parts []part
	used  time.Time
}

func newInsides(now func() time.Time) *insides {
	return &insides{now: now, reports: make(chan struct{}, maxReports), kept: map[uint64]keptParts{}}
}

// imageParts returns the parts of the image with this number.
func (in *insides) imageParts(id uint64, f DiskFile) []part {
	if parts, ok := in.recall(id); ok {
		return parts
	}
	parts, err := findParts(f)
	if err != nil {
		return nil // the next caller tries again; the report of the image has the reason
	}
	in.remember(id, parts)
	return parts
}

func (in *insides) recall(id uint64) ([]part, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	now := in.now()
	for id, k := range in.kept {
		if now.Sub(k.used) > keepParts {
			delete(in.kept, id)
		}
	}
	k, ok := in.kept[id]
	if ok {
		in.kept[id] = keptParts{k.parts, now}
	}
	return k.parts, ok
}

func (in *insides) remember(id uint64, parts []part) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.kept[id] = keptParts{parts, in.now()}
	if len(in.kept) <= maxKept {
		return
	}
	oldest := id
	for other, k := range in.kept {
		if k.used.Before(in.kept[oldest].used) {
			oldest = other
		}
	}
	delete(in.kept, oldest)
}

// look opens a disk and finds its slices. use must not keep the layout, because the disk is closed
// when it returns.
func look(ctx context.Context, f DiskFile, use func(context.Context, *inspect.Layout) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, maxLook)
	defer cancel()
	ctx = disk.WithBudget(ctx, disk.NewBudget(disk.Cost{Bytes: maxLookReads}))
	defer func() {
		if bug := recover(); bug != nil { // an image must not end the daemon, which has other disks
			err = fmt.Errorf("inspect: a reader failed: %v", bug)
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("inspect: not finished after %v, the limit", maxLook)
		}
	}()
	d, err := f.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	l, err := inspect.Open(ctx, wholeReads{d}, inspect.Options{})
	if err != nil {
		return err
	}
	return use(ctx, l)
}

// wholeReads is an open disk as package inspect reads it.
type wholeReads struct{ OpenDisk }

var _ formats.Source = wholeReads{}

// ReadAt fills all of p or returns an error.
func (s wholeReads) ReadAt(ctx context.Context, p []byte, off int64) error {
	n, err := s.OpenDisk.ReadAt(ctx, p, off)
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}

// Hole reports whether the bytes at off are a hole, and how far that state runs.
func (s wholeReads) Hole(ctx context.Context, off, n int64) (bool, int64, error) {
	e, err := s.Extent(ctx, off, n)
	return e.State != formats.Data, min(e.Len, n), err
}
