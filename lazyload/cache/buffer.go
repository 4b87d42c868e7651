package cache

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Buffer is one decoded cluster, shared and immutable. A caller that got one may read Bytes until
// it calls Release, and must call Release exactly once.
type Buffer struct {
	data []byte
	refs atomic.Int32
	c    *Cache
}

// Bytes returns the decoded cluster.
func (b *Buffer) Bytes() []byte { return b.data }

// Release drops the caller's reference. The last Release makes the memory free for another cluster.
func (b *Buffer) Release() {
	if b.refs.Add(-1) == 0 {
		b.c.reclaim(b)
	}
}

const hugePage = 2 << 20

// mapMemory maps n bytes. Clusters do not come from the Go allocator, because the collector would
// let the heap grow to twice the size that the cache counts, and would clear a recycled buffer.
func mapMemory(n int) ([]byte, error) {
	data, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err == nil && n >= hugePage {
		// One page fault instead of 512. A kernel without huge pages returns an error, which does
		// no harm.
		_ = unix.Madvise(data, unix.MADV_HUGEPAGE)
	}
	return data, err
}

func unmapMemory(data []byte) {
	if err := unix.Munmap(data); err != nil {
		panic(err) // bug: the slice is not one that mapMemory made
	}
}
