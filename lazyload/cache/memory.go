package cache

import "fmt"

// take returns a buffer of n bytes with unknown content, making room first; the caller holds mu. When nothing
// can be given up (all is being read or loaded) the bound is exceeded by this buffer rather than a reader stopped.
func (c *Cache) take(n int) (*Buffer, error) {
	for len(c.free[n]) == 0 && c.mapped+int64(n) > c.limit && (c.unmapOther(n) || c.evict()) {
	}
	if list := c.free[n]; len(list) > 0 {
		b := list[len(list)-1]
		c.free[n] = list[:len(list)-1]
		return b, nil
	}
	data, err := mapMemory(n)
	if err != nil {
		return nil, fmt.Errorf("memory for a cluster of %d bytes: %w", n, err)
	}
	c.mapped += int64(n)
	return &Buffer{data: data, c: c}, nil
}

// evict gives up the least recently used cluster that nobody reads; the caller holds mu.
func (c *Cache) evict() bool {
	for elem := c.lru.Back(); elem != nil; elem = elem.Prev() {
		e := elem.Value.(*entry)
		// References are only ever added under mu, so a count of one, the cache's own, stays one.
		if e.buf.refs.Load() == 1 {
			b := c.remove(e)
			b.refs.Store(0)
			c.recycle(b)
			return true
		}
	}
	return false
}

// remove takes a loaded entry out and returns its buffer with the cache's reference; the caller holds mu.
func (c *Cache) remove(e *entry) *Buffer {
	delete(c.entries, e.key)
	c.lru.Remove(e.elem)
	return e.buf
}

// reclaim is where a buffer goes after its last Release.
func (c *Cache) reclaim(b *Buffer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recycle(b)
}

// recycle keeps the memory for the next cluster of its size, or gives it back to the system while the bound is
// exceeded; the caller holds mu.
func (c *Cache) recycle(b *Buffer) {
	if c.mapped > c.limit {
		c.mapped -= int64(len(b.data))
		unmapMemory(b.data)
		return
	}
	c.free[len(b.data)] = append(c.free[len(b.data)], b)
}

// unmapOther gives free memory of another size than n back to the system; the caller holds mu.
func (c *Cache) unmapOther(n int) bool {
	for size := range c.free {
		if size != n && c.unmapFree(size) {
			return true
		}
	}
	return false
}

func (c *Cache) unmapFree(n int) bool {
	list := c.free[n]
	if len(list) == 0 {
		delete(c.free, n)
		return false
	}
	b := list[len(list)-1]
	c.free[n] = list[:len(list)-1]
	c.mapped -= int64(n)
	unmapMemory(b.data)
	return true
}
