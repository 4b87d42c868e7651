// Package pages reads remote objects in few and large requests.
//
// A File keeps pages of 64 KiB in a Cache that all files share. A page is fetched once, however many
// readers need it. A miss fetches a window of pages; the window grows while its extra pages are
// read, and shrinks while they are not. A sequential reader is noticed, and pages are fetched before
// it needs them. A demand read never waits for a slot that background requests hold: it makes the
// request that it joins urgent.
//
// The package knows no protocol: a Fetcher gets bytes. An error is returned to the reads that wait
// for it and is never remembered.
//
//	pages.go   the cache and its pages
//	file.go    reads
//	ahead.go   windows and sequential readers
package pages

import (
	"container/list"
	"context"
	"sync"

	"github.com/imsfs/imsfs/lazyload/source"
)

const (
	// Size is the length of a page; the last page of a file may be shorter.
	Size = 64 << 10
	// DefaultLimit is the memory for pages if Cache is made with no limit.
	DefaultLimit = 32 << 20

	demandPart     = 1 << 20 // the largest request that a reader waits for
	backgroundPart = 8 << 20
)

// Fetcher gets bytes of one remote object. It is safe for concurrent use.
type Fetcher interface {
	// Fetch fills the buffers of a request in order, and calls Done with the number of each that is
	// full. It retries errors that may pass.
	Fetch(ctx context.Context, r Request) error
}

// Request is one range of an object.
type Request struct {
	Off    int64
	Bufs   [][]byte
	Class  source.Class
	Urgent <-chan struct{} // closed when a demand read joins the request
	Done   func(i int)
}

// Len returns the number of bytes of the range.
func (r Request) Len() int64 {
	var n int64
	for _, b := range r.Bufs {
		n += int64(len(b))
	}
	return n
}

// Cache is the memory for pages of all files. It is safe for concurrent use.
type Cache struct {
	limit int64

	mu     sync.Mutex // guards the following, and the pages of all files
	used   int64      // bytes of pages that are full
	flying int64      // bytes of pages that are being fetched
	order  *list.List // of *page, full ones, the one that was read last first
}

// NewCache returns a cache of at most limit bytes; 0 is DefaultLimit. Requests that readers wait for
// may exceed it for a moment.
func NewCache(limit int64) *Cache {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return &Cache{limit: limit, order: list.New()}
}

// page is a page of a file that is full or being fetched.
type page struct {
	file  *File
	index int64
	run   *run
	extra bool // fetched by a window, and not read yet

	ready chan struct{} // closed when data or err is valid
	data  []byte        // constant once it is valid: it outlives the page's place in the cache
	err   error
	place *list.Element // in Cache.order; nil unless it is full and kept
}

// run is a request under way.
type run struct {
	pages  []*page
	class  source.Class
	urgent chan struct{}
	urged  bool // urgent is closed; guarded by Cache.mu
}

// urge makes a request as urgent as a demand read. The caller holds mu.
func (r *run) urge() {
	if r.class != source.Demand && !r.urged {
		r.urged = true
		close(r.urgent)
	}
}

// touch marks a page as read. The caller holds mu.
func (c *Cache) touch(p *page) {
	if p.extra {
		p.extra = false
		p.file.window.read += int64(len(p.data))
	}
	if p.place != nil {
		c.order.MoveToFront(p.place)
	}
}

// fill keeps a page whose data has arrived, and drops pages that were read longest ago.
func (c *Cache) fill(p *page) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := int64(len(p.data))
	c.flying -= n
	c.used += n
	p.place = c.order.PushFront(p)
	close(p.ready)
	for c.used > c.limit {
		c.drop(c.order.Back().Value.(*page))
	}
}

// drop forgets a full page. The caller holds mu.
func (c *Cache) drop(p *page) {
	c.order.Remove(p.place)
	p.place = nil
	c.used -= int64(len(p.data))
	delete(p.file.pages, p.index)
}

// fail ends the pages of a request that were not filled.
func (c *Cache) fail(r *run, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range r.pages {
		select {
		case <-p.ready:
			continue
		default:
		}
		c.flying -= int64(len(p.data))
		p.err = err
		delete(p.file.pages, p.index)
		close(p.ready)
	}
}
