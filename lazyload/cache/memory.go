package cache

import "fmt"

// take makes room and returns a buffer of n bytes with any content. The caller must hold mu. If no
// memory can be freed, because all clusters are being read or loaded, the buffer exceeds the bound,
// so that no reader has to wait.
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

// evict frees the least recently used cluster without a reader, and reports whether there was one.
// The caller must hold mu.
func (c *Cache) evict() bool {
	for elem := c.lru.Back(); elem != nil; elem = elem.Prev() {
		e := elem.Value.(*entry)
		// References are only added under mu, so a count of one, the cache's own, stays one.
		if e.buf.refs.Load() == 1 {
			b := c.remove(e)
			b.refs.Store(0)
			c.recycle(b)
			return true
		}
	}
	return false
}

// remove removes a loaded entry and returns its buffer with the cache's reference. The caller must
// hold mu.
func (c *Cache) remove(e *entry) *Buffer {
	delete(c.entries, e.key)
	c.lru.Remove(e.elem)
	return e.buf
}

// reclaim recycles a buffer after its last Release.
func (c *Cache) reclaim(b *Buffer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recycle(b)
}

// recycle keeps the memory for the next cluster of its size, or unmaps it while the bound is
// exceeded. The caller must hold mu.
func (c *Cache) recycle(b *Buffer) {
	if c.mapped > c.limit {
		c.mapped -= int64(len(b.data))
		unmapMemory(b.data)
		return
	}
	c.free[len(b.data)] = append(c.free[len(b.data)], b)
}

// unmapOther unmaps a free buffer of a size other than n, and reports whether there was one. The
// caller must hold mu.
func (c *Cache) unmapOther(n int) bool {
	for size := range c.free {
		if size != n && c.unmapFree(size) {
			return true
		}
	}
	return false
}

// unmapFree unmaps a free buffer of n bytes, and reports whether there was one. The caller must
// hold mu.
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
