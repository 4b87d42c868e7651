// Package tables caches the metadata tables of one image that are read when they are needed: L2
// tables, grain tables, pages of a BAT. So a disk of any size opens at once, and takes memory only
// for the parts in use. Decoded data is not cached here.
package tables

import (
	"container/list"
	"context"
	"fmt"
	"sync"

	"github.com/imsfs/imsfs/formats"
)

// DefaultBytes is the limit of a Cache that is made without one.
const DefaultBytes = 8 << 20

// Cache reads tables of one source and keeps those used last. It is safe for concurrent use.
type Cache struct {
	src    formats.Source
	driver string
	limit  int64
	check  func(off int64, table []byte) error

	mu   sync.Mutex // guards the following
	held map[int64]*list.Element
	lru  *list.List // of *table, the one used last at the front
	used int64
}

// table is one that is held or on its way.
type table struct {
	off   int64
	ready chan struct{} // closed when b or err is set
	b     []byte
	err   error
}

// New makes a cache of the tables in src of at most limit bytes, 0 for DefaultBytes. driver begins
// its errors. check, unless nil, is called once for each table after it was read; readers get its
// error.
func New(src formats.Source, driver string, limit int64, check func(off int64, table []byte) error) *Cache {
	if limit <= 0 {
		limit = DefaultBytes
	}
	return &Cache{src: src, driver: driver, limit: limit, check: check, held: map[int64]*list.Element{}, lru: list.New()}
}

// Get returns the n bytes at off. They are one table: a call with the same off must have the same
// n. The result is shared and must not be changed. After a failed read the next Get tries again. A
// table past the source's end is an error that names it by what, as in "L2 table".
func (c *Cache) Get(ctx context.Context, off int64, n int, what string) ([]byte, error) {
	if off < 0 || n <= 0 || off > c.src.Size()-int64(n) {
		return nil, formats.Corrupt(c.driver, off, "%s of %d bytes: it must lie within the file of %d bytes", what, n, c.src.Size())
	}
	for {
		t, mine := c.begin(off, n)
		if mine {
			return c.load(ctx, t, n, what)
		}
		select {
		case <-t.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if t.err == nil {
			return t.b, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		// The reader that failed may have been cancelled: try again.
	}
}

// begin returns the table at off, and whether it is the caller's to load.
func (c *Cache) begin(off int64, n int) (*table, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.held[off]; e != nil {
		c.lru.MoveToFront(e)
		return e.Value.(*table), false
	}
	t := &table{off: off, ready: make(chan struct{})}
	c.held[off] = c.lru.PushFront(t)
	c.used += int64(n)
	return t, true
}

func (c *Cache) load(ctx context.Context, t *table, n int, what string) ([]byte, error) {
	b := make([]byte, n)
	err := c.src.ReadAt(ctx, b, t.off)
	switch {
	case err != nil:
		err = fmt.Errorf("%s: %s at %#x: %w", c.driver, what, t.off, err)
	case c.check != nil:
		err = c.check(t.off, b)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(t.ready)
	if err != nil {
		t.err = err
		c.drop(c.held[t.off], n)
		return nil, err
	}
	t.b = b
	c.shrink()
	return b, nil
}

// drop takes a table out; the caller holds mu.
func (c *Cache) drop(e *list.Element, n int) {
	delete(c.held, e.Value.(*table).off)
	c.lru.Remove(e)
	c.used -= int64(n)
}

// shrink drops the tables used longest ago; those on their way have no bytes yet and stay. The
// caller holds mu.
func (c *Cache) shrink() {
	for e := c.lru.Back(); e != nil && c.used > c.limit; {
		last := e
		e = e.Prev()
		if b := last.Value.(*table).b; b != nil && last != c.lru.Front() {
			c.drop(last, len(b))
		}
	}
}
