package disk

import (
	"container/list"
	"context"
	"errors"
	"sync"

	"github.com/imsfs/imsfs/formats"
)

const (
	// PageSize is the unit in which metadata is read and kept.
	PageSize = 16 << 10
	// CacheSize is how many bytes of pages a Disk keeps.
	CacheSize = 8 << 20

	maxAhead = 16 // pages read past a run's end: 256 KiB
	maxBatch = 64 // pages of one request
)

// Disk is a Source with pages over the bytes of an image.
type Disk struct {
	src   formats.Source
	size  int64
	spent counter

	mu    sync.Mutex
	pages map[int64]*page
	lru   *list.List // of *page that are read, the last used first
	next  int64      // the page that would continue the run of misses
	ahead int64      // pages to read past the end of that run
}

// page is one page, being read until ready is closed.
type page struct {
	number int64
	ready  chan struct{}
	bytes  []byte        // set before ready is closed
	err    error         // likewise; a page with one is not in the map any more
	used   *list.Element // nil while it is being read
}

// New returns a Disk over src, which must stay open as long as the Disk is used.
func New(src formats.Source) *Disk {
	return &Disk{src: src, size: src.Size(), pages: map[int64]*page{}, lru: list.New(), next: -1}
}

// Size is the disk's length in bytes.
func (d *Disk) Size() int64 { return d.size }

// Cost returns the requests and bytes since New.
func (d *Disk) Cost() Cost { return d.spent.cost() }

// Hole asks the image, see the function Hole.
func (d *Disk) Hole(ctx context.Context, off, n int64) (bool, int64, error) {
	return Hole(ctx, d.src, off, n)
}

// ReadAt reads data: pages keep nothing of it, unless it is shorter than a page.
func (d *Disk) ReadAt(ctx context.Context, p []byte, off int64) error {
	if len(p) < PageSize {
		return d.ReadMeta(ctx, p, off)
	}
	if !Within(off, int64(len(p)), d.size) {
		return pastEnd(off, len(p), d.size)
	}
	return d.request(ctx, p, off)
}

// ReadMeta reads through the pages. Pages missing side by side are one request.
func (d *Disk) ReadMeta(ctx context.Context, p []byte, off int64) error {
	if !Within(off, int64(len(p)), d.size) {
		return pastEnd(off, len(p), d.size)
	}
	if err := ctx.Err(); err != nil { // so that a walk through cached pages ends as well
		return err
	}
	for len(p) > 0 {
		first := off / PageSize
		last := min((off+int64(len(p))-1)/PageSize, first+maxBatch-1)
		batch, err := d.fetch(ctx, first, last)
		if err != nil {
			return err
		}
		for _, b := range batch {
			n := copy(p, b[off%PageSize:])
			p, off = p[n:], off+int64(n)
		}
	}
	return nil
}

// request reads from the image, counted.
func (d *Disk) request(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := spend(ctx, int64(len(p))); err != nil {
		return err
	}
	d.spent.add(int64(len(p)))
	return d.src.ReadAt(ctx, p, off)
}

// fetch returns the bytes of the pages first to last, at most maxBatch of them.
func (d *Disk) fetch(ctx context.Context, first, last int64) ([][]byte, error) {
	for {
		all, missing := d.claim(first, last)
		d.readClaimed(ctx, missing, last)
		batch, err := await(ctx, all[:last-first+1])
		if err == nil {
			return batch, nil
		}
		// Another reader's context or budget ended while this one waited for its page.
		if ctx.Err() == nil && !owns(missing, err) && othersAffair(err) {
			continue
		}
		return nil, err
	}
}

// owns reports whether err is the error of one of the caller's own reads.
func owns(runs [][]*page, err error) bool {
	for _, run := range runs {
		if run[0].err != nil && errors.Is(err, run[0].err) {
			return true
		}
	}
	return false
}

func othersAffair(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrBudget)
}

// claim returns the pages first to last, and the runs among them that the caller must read. The
// last run may go on past last, see readahead.
func (d *Disk) claim(first, last int64) (all []*page, missing [][]*page) {
	d.mu.Lock()
	defer d.mu.Unlock()
	end := d.readahead(first, last)
	for number := first; number <= end; number++ {
		p := d.pages[number]
		if p != nil && number > last {
			break // the run ahead ends where pages are known
		}
		if p == nil {
			p = &page{number: number, ready: make(chan struct{})}
			d.pages[number] = p
			if n := len(missing); n > 0 && missing[n-1][len(missing[n-1])-1].number == number-1 {
				missing[n-1] = append(missing[n-1], p)
			} else {
				missing = append(missing, []*page{p})
			}
			d.next = number + 1
		} else if p.used != nil {
			d.lru.MoveToFront(p.used)
		}
		all = append(all, p)
	}
	return all, missing
}

// readahead returns the last page worth reading when first to last are needed. A miss that
// continues the run of misses doubles the pages read ahead; any other ends the run. d.mu is held.
func (d *Disk) readahead(first, last int64) int64 {
	miss := int64(-1)
	for number := first; number <= last && miss < 0; number++ {
		if d.pages[number] == nil {
			miss = number
		}
	}
	switch {
	case miss < 0 || d.pages[last] != nil:
		return last
	case miss == d.next:
		d.ahead = min(max(1, 2*d.ahead), maxAhead)
	default:
		d.ahead = 0
	}
	return min(last+d.ahead, (d.size-1)/PageSize)
}

// readClaimed reads runs of pages and completes them. Pages past last are only read ahead: if they
// cannot be read, or the budget has no room for them, those up to last are read without them.
func (d *Disk) readClaimed(ctx context.Context, runs [][]*page, last int64) {
	for _, run := range runs {
		needed := int(min(int64(len(run)), last-run[0].number+1))
		bytes, err := d.readRun(ctx, run)
		if err != nil && needed < len(run) {
			d.complete(run[needed:], nil, err)
			run = run[:needed]
			bytes, err = d.readRun(ctx, run)
		}
		d.complete(run, bytes, err)
	}
}

func (d *Disk) readRun(ctx context.Context, run []*page) ([]byte, error) {
	off := run[0].number * PageSize
	bytes := make([]byte, min(int64(len(run))*PageSize, d.size-off))
	return bytes, d.request(ctx, bytes, off)
}

// complete hands out the pages of a request, and drops the pages used longest ago. Each page has
// memory of its own, so that one kept page does not hold a whole run.
func (d *Disk) complete(run []*page, bytes []byte, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, p := range run {
		if err != nil {
			p.err = err
			delete(d.pages, p.number)
		} else {
			p.bytes = append([]byte(nil), bytes[i*PageSize:min((i+1)*PageSize, len(bytes))]...)
			p.used = d.lru.PushFront(p)
		}
		close(p.ready)
	}
	for d.lru.Len() > CacheSize/PageSize {
		oldest := d.lru.Remove(d.lru.Back()).(*page)
		delete(d.pages, oldest.number)
	}
}

// await waits for pages that are being read, and returns the bytes of all.
func await(ctx context.Context, pages []*page) ([][]byte, error) {
	batch := make([][]byte, len(pages))
	for i, p := range pages {
		select {
		case <-p.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if p.err != nil {
			return nil, p.err
		}
		batch[i] = p.bytes
	}
	return batch, nil
}
