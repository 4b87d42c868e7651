package pages

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/imsfs/imsfs/lazyload/source"
)

// File is one remote object, read through pages. It is safe for concurrent use.
type File struct {
	cache  *Cache
	fetch  Fetcher
	size   int64
	pinned []Piece

	ctx     context.Context // of all requests; Close ends it
	cancel  context.CancelFunc
	running sync.WaitGroup

	// Guarded by cache.mu.
	pages   map[int64]*page
	window  window
	streams streams
}

// Piece is a range whose bytes are known.
type Piece struct {
	Off  int64
	Data []byte
}

// New returns a file of size bytes. The pinned pieces are kept as long as the file is open: the
// first and the last bytes of an image, which every driver reads.
func New(c *Cache, f Fetcher, size int64, pinned ...Piece) *File {
	ctx, cancel := context.WithCancel(context.Background())
	return &File{
		cache: c, fetch: f, size: size, pinned: pinned, ctx: ctx, cancel: cancel,
		pages: map[int64]*page{}, window: window{pages: firstWindow},
	}
}

// Size returns the number of bytes of the file.
func (f *File) Size() int64 { return f.size }

// Close ends all requests and forgets the file's pages. No read may be running.
func (f *File) Close() error {
	f.cancel()
	f.running.Wait()
	f.cache.mu.Lock()
	defer f.cache.mu.Unlock()
	for _, p := range f.pages {
		f.cache.drop(p)
	}
	return nil
}

// ReadAt implements formats.Source. The class of ctx decides how urgent the read is. If ctx ends, the
// read ends, but a request that it started goes on, because other reads may have joined it.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) error {
	if off < 0 || int64(len(p)) > f.size-off {
		return fmt.Errorf("read of %d bytes at %#x of %d: %w", len(p), off, f.size, io.ErrUnexpectedEOF)
	}
	if f.readPinned(p, off) {
		return nil
	}
	for len(p) > 0 {
		n := min(int64(len(p)), backgroundPart-off%Size)
		if err := f.readPages(ctx, p[:n], off); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

func (f *File) readPinned(p []byte, off int64) bool {
	for _, k := range f.pinned {
		if off >= k.Off && off+int64(len(p)) <= k.Off+int64(len(k.Data)) {
			copy(p, k.Data[off-k.Off:])
			return true
		}
	}
	return false
}

// readPages reads a few pages. A background request that a demand read joined may fail for reasons
// of its own, so the read then makes a request itself.
func (f *File) readPages(ctx context.Context, p []byte, off int64) error {
	class := source.ClassOf(ctx)
	for attempt := 0; ; attempt++ {
		pages := f.want(off, int64(len(p)), class)
		failed, err := wait(ctx, pages)
		switch {
		case err == nil:
			for _, g := range pages {
				start := g.index * Size
				from := max(off, start)
				copy(p[from-off:], g.data[from-start:])
			}
			return nil
		case failed != nil && failed.run.class > class && attempt < 2:
		default:
			return err
		}
	}
}

// wait returns when all pages are full, or the first error and the page that has it.
func wait(ctx context.Context, pages []*page) (failed *page, err error) {
	for _, p := range pages {
		select {
		case <-p.ready:
		default:
			select {
			case <-p.ready:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if p.err != nil {
			return p, p.err
		}
	}
	return nil, nil
}

// want returns the pages of a range. It starts requests for those that are missing.
func (f *File) want(off, n int64, class source.Class) []*page {
	f.cache.mu.Lock()
	defer f.cache.mu.Unlock()
	first, last := off/Size, (off+n-1)/Size
	var pages, missing []*page
	for i := first; i <= last; i++ {
		p := f.pages[i]
		if p == nil {
			p = f.add(i)
			missing = append(missing, p)
		} else if class == source.Demand {
			p.run.urge()
		}
		f.cache.touch(p)
		pages = append(pages, p)
	}
	if class == source.Demand && len(missing) > 0 && missing[len(missing)-1].index == last {
		missing = append(missing, f.widen(last)...)
	}
	f.start(missing, class, demandPart)
	f.readAhead(off, n, class)
	return pages
}

// add makes a page that is to be fetched. The caller holds mu.
func (f *File) add(index int64) *page {
	n := min(Size, f.size-index*Size)
	p := &page{file: f, index: index, ready: make(chan struct{}), data: make([]byte, n)}
	f.pages[index] = p
	f.cache.flying += n
	return p
}

// start starts requests for pages in ascending order: neighbours go into one request of at most part
// bytes. The caller holds mu.
func (f *File) start(pages []*page, class source.Class, part int64) {
	if class == source.Hydrate {
		part = backgroundPart
	}
	for len(pages) > 0 {
		n := 1
		for n < len(pages) && pages[n].index == pages[n-1].index+1 && int64(n+1)*Size <= part {
			n++
		}
		r := &run{pages: pages[:n:n], class: class, urgent: make(chan struct{})}
		for _, p := range r.pages {
			p.run = r
		}
		f.running.Go(func() { f.run(r) })
		pages = pages[n:]
	}
}

func (f *File) run(r *run) {
	req := Request{
		Off: r.pages[0].index * Size, Class: r.class, Urgent: r.urgent,
		Done: func(i int) { f.cache.fill(r.pages[i]) },
	}
	for _, p := range r.pages {
		req.Bufs = append(req.Bufs, p.data)
	}
	if err := f.fetch.Fetch(f.ctx, req); err != nil {
		f.cache.fail(r, err)
	}
}
