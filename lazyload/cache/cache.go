// Package cache keeps decoded clusters within a bound of bytes, least recently used first out, and lets any
// number of readers of one cluster share one decode.
//
// Two things set it apart from a cache library. Its memory is counted and recycled by reference counts, because a
// cluster is handed to the kernel without a copy and must stay until that is done. And what was decoded ahead of a
// sequential reader is always admitted: a frequency-based admission (W-TinyLFU) throws just that away when the
// cache is full, measured in docs/performance.md.
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

// Key names a cluster: the disk, by a number that is never used twice, and its offset in the disk.
type Key struct {
	Disk uint64
	Off  int64
}

// Decoder makes the clusters of one disk. It is an interface, not a function, so that asking for a cluster that
// is there allocates nothing.
type Decoder interface {
	// Decode fills dst with the cluster at off, all of it, or returns an error.
	Decode(dst []byte, off int64) error
	// Done is called when the load of the cluster at off is over and its readers have been told, also if it came to no
	// Decode; err is its failure.
	Done(off int64, err error)
}

// Cache is safe for concurrent use.
type Cache struct {
	limit int64
	loads int64               // clusters of a usual size that are loaded at once
	slots *semaphore.Weighted // of loads: a load that has its memory holds some

	mu      sync.Mutex
	entries map[Key]*entry
	lru     *list.List        // of *entry, loaded ones only, the latest used in front
	mapped  int64             // bytes of all buffers: cached, being loaded, held by readers, free
	free    map[int][]*Buffer // by size
	stats   Stats
}

// Stats counts since the cache was made.
type Stats struct {
	Hits, Joins, Loads int64 // reads served from memory, by another's load, by a load of their own
	Used, Limit        int64 // bytes of memory mapped now, and the bound
}

type entry struct {
	key  Key
	n    int           // bytes
	buf  *Buffer       // nil while loading, and if that failed
	elem *list.Element // nil while loading
	done chan struct{} // closed when loaded, or failed with err
	err  error
	// waiting is the number of readers that will be given a reference when the load is done.
	waiting int32
}

// New makes a cache of at most limit bytes, which runs so many loads at once; more of them wait for their turn.
// Clusters that are being loaded or read at the moment count, but are never refused: with a limit smaller than they
// are, the cache holds just those.
func New(limit int64, loads int) *Cache {
	return &Cache{limit: limit, loads: int64(loads), slots: semaphore.NewWeighted(int64(loads)), entries: map[Key]*entry{}, lru: list.New(), free: map[int][]*Buffer{}}
}

// Get returns the cluster of n bytes, by d if it is not there. Concurrent calls for one key share one load, which
// runs on its own goroutine and to its end even if every waiter's ctx is over. led tells that this call started
// the load: then, and only then, d is called. A failed load is the error of all who waited for it, and the
// next Get tries again.
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

// Ahead loads a cluster that nobody waits for, on the caller's goroutine, unless it is there or on its way: led
// tells whether d was called. A failure is met again, and told, by the reader that needs the cluster.
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

// Peek returns a cluster that is there, or nil, and counts for nothing: not as a hit, nor as a use.
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

// begin makes the entry of a load; the caller holds mu.
func (c *Cache) begin(key Key, n int) *entry {
	c.stats.Loads++
	e := &entry{key: key, n: n, done: make(chan struct{})}
	c.entries[key] = e
	return e
}

// run loads when it is the entry's turn, and publishes: the entry's references, one for the cache and one for each
// waiter, are all made here, so that no waiter can find its buffer gone.
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

// weight returns how many of the loads that may run at once a cluster of n bytes stands for. Clusters that fill the cache
// are loaded one at a time.
func (c *Cache) weight(n int) int64 {
	return max(1, min(c.loads, int64(n)*c.loads/max(c.limit, 1)))
}

// load decodes the entry's cluster into memory that it takes. Only now: what waits for its turn has none.
func (c *Cache) load(e *entry, d Decoder) (*Buffer, error) {
	c.mu.Lock()
	buf, err := c.take(e.n)
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return buf, guarded(d, buf.data, e.key.Off)
}

// guarded turns a panic of a decoder into an error of that cluster: other disks and their virtual machines go on.
func guarded(d Decoder, dst []byte, off int64) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("bug: %v\n%s", r, debug.Stack())
		}
	}()
	return d.Decode(dst, off)
}

// leave takes back a waiter whose ctx is over.
func (c *Cache) leave(e *entry) {
	c.mu.Lock()
	if e.elem == nil && e.err == nil {
		e.waiting--
		c.mu.Unlock()
		return
	}
	b := e.buf
	c.mu.Unlock()
	if b != nil { // loaded in the meantime: the reference was ours
		b.Release()
	}
}

// Drop forgets all clusters of a disk that is closed: none of its loads may be running.
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

// Stats tells how the cache does.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Used, s.Limit = c.mapped, c.limit
	return s
}

// Close unmaps the memory; all buffers must have been given back.
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
