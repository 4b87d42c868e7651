package codec

import (
	"math/bits"
	"sync"
)

// Buffers keeps memory for compressed and decoded clusters, for all images of a driver. It is safe
// for concurrent use; the zero value is usable.
type Buffers struct{ pool sync.Pool }

// Get returns a buffer of n bytes with any content, which the caller gives back by Put. Capacities
// are powers of two, so that after a few clusters all buffers fit.
func (b *Buffers) Get(n int64) *[]byte {
	buf, _ := b.pool.Get().(*[]byte)
	if buf == nil || int64(cap(*buf)) < n {
		fresh := make([]byte, 1<<bits.Len64(uint64(max(n, 1)-1)))
		buf = &fresh
	}
	*buf = (*buf)[:n]
	return buf
}

// Put takes a buffer back. Nil is ignored.
func (b *Buffers) Put(buf *[]byte) {
	if buf != nil {
		b.pool.Put(buf)
	}
}
