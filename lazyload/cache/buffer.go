package cache

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Buffer is one decoded cluster, shared and immutable. Whoever was given one may read Bytes until its Release, and
// must call Release exactly once.
type Buffer struct {
	data []byte
	refs atomic.Int32
	c    *Cache
}

// Bytes is the decoded cluster.
func (b *Buffer) Bytes() []byte { return b.data }

// Release gives the buffer back. The last to do so hands its memory to the next cluster.
func (b *Buffer) Release() {
	if b.refs.Add(-1) == 0 {
		b.c.reclaim(b)
	}
}

// Memory of clusters is mapped, not made by the Go allocator: its size is then exactly what the cache counts,
// where the collector would let the heap grow to twice of it, and a buffer that is given back is not cleared again.

const hugePage = 2 << 20

func mapMemory(n int) ([]byte, error) {
	data, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err == nil && n >= hugePage {
		// One fault instead of 512; a kernel that does not offer it says so, and nothing is lost.
		_ = unix.Madvise(data, unix.MADV_HUGEPAGE)
	}
	return data, err
}

func unmapMemory(data []byte) {
	if err := unix.Munmap(data); err != nil {
		panic(err) // bug: only a slice that mapMemory did not make can fail here
	}
}
