// Package cache keeps decoded clusters within a bound of bytes. The least recently used cluster
// leaves first, and all readers of one cluster share one decode.
//
// It differs from a cache library in two ways. Its memory is recycled by reference counts, because
// a cluster is handed to the kernel without a copy and must stay until the kernel is done. And a
// cluster that was decoded ahead of a sequential reader is always admitted: frequency-based
// admission (W-TinyLFU) throws away exactly those when the cache is full. The measurement is in
// docs/performance.
package cache

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Key names a cluster by its disk, a number that is never used twice, and its offset in the disk.
type Key struct {
	Disk uint64
	Off  int64
}

// Decoder makes the clusters of one disk. It is an interface and not a function, so that Get
// allocates nothing for a cached cluster.
type Decoder interface {
	// Decode fills all of dst with the cluster at off, or returns an error.
	Decode(dst []byte, off int64) error
	// Done is called after the load of the cluster at off has ended and its readers have the
	// result, even if Decode was never called. err is the load's failure.
	Done(off int64, err error)
}

// Cache is safe for concurrent use.
type Cache struct {
	limit int64
	loads int64               // clusters of a usual size that are loaded at once
	slots *semaphore.Weighted // of loads: a load that has its memory holds some

	mu      sync.Mutex
	entries map[Key]*entry
	lru     *list.List        // of *entry, loaded ones only, the last used first
	mapped  int64             // bytes of all buffers: cached, loading, held by readers, free
	free    map[int][]*Buffer // by size
	stats   Stats
}

// Stats are counts since the cache was made.
type Stats struct {
	Hits, Joins, Loads int64 // reads served from memory, by another reader's load, by their own
	Used, Limit        int64 // bytes of memory mapped now, and the bound
}

type entry struct {
	key  Key
	n    int           // bytes
	buf  *Buffer       // nil while loading, and if that failed
	elem *list.Element // nil while loading
	done chan struct{} // closed when loaded, or failed with err
	err  error
	// waiting is the number of readers that get a reference when the load is done.
	waiting int32
}

// New returns a cache of at most limit bytes that runs at most loads loads at once; others wait for
// their turn. Clusters that are being loaded or read count towards limit, but are never refused: if
// they exceed it, the cache holds only them.
func New(limit int64, loads int) *Cache {
	return &Cache{
		limit:   limit,
		loads:   int64(loads),
		slots:   semaphore.NewWeighted(int64(loads)),
		entries: map[Key]*entry{},
		lru:     list.New(),
		free:    map[int][]*Buffer{},
	}
}

// Get returns the cluster of n bytes, loaded by d if it is not cached. Concurrent calls for one key
// share one load. The load runs on its own goroutine and to its end, even if every waiter's ctx is
// done. led reports whether this call started the load; only then is d used. A failed load fails
// all its waiters, and the next Get tries again.
func (c *Cache) Get(ctx context.Context, key Key, n int, d Decoder) (b *Buffer, led bool, err error) {
	c.mu.Lock()
	e, ok := c.entries[key]
	switch {
	case ok && e.elem != nil:
		c.stats.Hits++
		c.lru.MoveToFront(e.elem)
		e.buf.refs.Add(1)
		c.mu.Unlock()
		return e.buf, false, nil
	case ok:
		c.stats.Joins++
	default:
		e = c.begin(key, n)
		go c.run(e, d)
		led = true
	}
	e.waiting++
	c.mu.Unlock()
	select {
	case <-e.done:
		return e.buf, led, e.err
	case <-ctx.Done():
		c.leave(e)
		return nil, led, ctx.Err()
	}
}

// Ahead loads a cluster that no reader waits for, on the caller's goroutine, unless it is cached or
// being loaded. led reports whether d was used. A failure is dropped, because the reader that needs
// the cluster will meet it again.
func (c *Cache) Ahead(key Key, n int, d Decoder) (led bool) {
	c.mu.Lock()
	if _, ok := c.entries[key]; ok {
		c.mu.Unlock()
		return false
	}
	e := c.begin(key, n)
	c.mu.Unlock()
	c.run(e, d)
	return true
}

// Peek returns a cached cluster, or nil. It counts neither as a hit nor as a use.
func (c *Cache) Peek(key Key) *Buffer {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil || e.elem == nil {
		return nil
	}
	e.buf.refs.Add(1)
	return e.buf
}

// begin adds the entry of a load. The caller must hold mu.
func (c *Cache) begin(key Key, n int) *entry {
	c.stats.Loads++
	e := &entry{key: key, n: n, done: make(chan struct{})}
	c.entries[key] = e
	return e
}

// run waits for the entry's turn, loads it and publishes the result. It makes all references of the
// buffer, one for the cache and one for each waiter, so that no waiter can find its buffer gone.
func (c *Cache) run(e *entry, d Decoder) {
	weight := c.weight(e.n)
	_ = c.slots.Acquire(context.Background(), weight) // a load goes to its end
	defer c.slots.Release(weight)
	buf, err := c.load(e, d)
	defer func() { d.Done(e.key.Off, err) }()
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(e.done)
	if err != nil {
		e.err = err
		delete(c.entries, e.key)
		if buf != nil {
			c.recycle(buf)
		}
		return
	}
	buf.refs.Store(1 + e.waiting)
	e.buf, e.elem = buf, c.lru.PushFront(e)
}

// weight returns how many of the loads that may run at once a cluster of n bytes stands for.
// Clusters that fill the cache are loaded one at a time.
func (c *Cache) weight(n int) int64 {
	return max(1, min(c.loads, int64(n)*c.loads/max(c.limit, 1)))
}

// load decodes the entry's cluster. It takes the memory only now, so that loads that wait for their
// turn have none.
func (c *Cache) load(e *entry, d Decoder) (*Buffer, error) {
	c.mu.Lock()
	buf, err := c.take(e.n)
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return buf, guarded(d, buf.data, e.key.Off)
}

// guarded turns a panic of a decoder into an error of that cluster, so that other disks and their
// virtual machines go on.
func guarded(d Decoder, dst []byte, off int64) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("bug: %v\n%s", r, debug.Stack())
		}
	}()
	return d.Decode(dst, off)
}

// leave removes a waiter whose ctx is done.
func (c *Cache) leave(e *entry) {
	c.mu.Lock()
	if e.elem == nil && e.err == nil {
		e.waiting--
		c.mu.Unlock()
		return
	}
	b := e.buf
	c.mu.Unlock()
	if b != nil { // loaded meanwhile, with a reference for this waiter
		b.Release()
	}
}

// Drop forgets all clusters of a closed disk. None of its loads may be running.
func (c *Cache) Drop(disk uint64) {
	c.mu.Lock()
	var dropped []*Buffer
	for key, e := range c.entries {
		if key.Disk == disk && e.elem != nil {
			dropped = append(dropped, c.remove(e))
		}
	}
	c.mu.Unlock()
	for _, b := range dropped {
		b.Release()
	}
}

// Stats returns the cache's counters.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Used, s.Limit = c.mapped, c.limit
	return s
}

// Close unmaps the memory. All buffers must have been released.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.evict() {
	}
	for n := range c.free {
		for c.unmapFree(n) {
		}
	}
	if c.mapped != 0 {
		return errors.New("bug: decoded clusters are still held")
	}
	return nil
}
