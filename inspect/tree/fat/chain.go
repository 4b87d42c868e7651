package fat

import (
	"context"
	"encoding/binary"
	"io"
	"sync"

	"github.com/imsfs/imsfs/inspect/disk"
)

// stride is how many clusters are between two marks of a chain.
const stride = 1024

// maxChains is how many chains have marks. With 4 GiB in clusters of 512 bytes each, all take 1
// MiB.
const maxChains = 32

// chains keeps marks in chains, so that reading a file in pieces does not begin at its first
// cluster for each piece. It is safe for concurrent use.
type chains struct {
	mu    sync.Mutex
	marks map[uint32][]uint32 // by the first cluster: the clusters 0, stride, 2×stride, … of the chain
}

// nearest returns the last mark at or before a position of the chain that begins with first.
func (c *chains) nearest(first uint32, index int64) (cluster uint32, at int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	marks := c.marks[first]
	if len(marks) == 0 {
		return first, 0
	}
	i := min(index/stride, int64(len(marks)-1))
	return marks[i], i * stride
}

// mark notes the cluster at a position that is a multiple of stride.
func (c *chains) mark(first uint32, index int64, cluster uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.marks == nil {
		c.marks = map[uint32][]uint32{}
	}
	marks := c.marks[first]
	if len(marks) == 0 {
		for old := range c.marks { // any of them: it costs one walk
			if len(c.marks) < maxChains {
				break
			}
			delete(c.marks, old)
		}
		marks = append(marks, first)
	}
	if int64(len(marks)) == index/stride {
		marks = append(marks, cluster)
	}
	c.marks[first] = marks
}

// window reads entries of the table, a few KiB at once. It belongs to one goroutine.
type window struct {
	t   *fatTree
	off int64 // in the table
	buf []byte
}

const windowSize = 4096

func (t *fatTree) window() *window { return &window{t: t} }

// next returns the entry of a cluster: its successor, an end mark, or a value out of range.
func (w *window) next(ctx context.Context, cluster uint32) (uint32, error) {
	off, n := int64(cluster)*int64(w.t.bits)/8, int64(4)
	if w.t.bits < 32 {
		n = 2
	}
	if off+n > w.t.tableSize {
		return 0, disk.Corrupt(name, "table", "cluster %d: the table ends at byte %d", cluster, w.t.tableSize)
	}
	if !disk.Within(off-w.off, n, int64(len(w.buf))) {
		size := min(windowSize, w.t.tableSize-off)
		if int64(cap(w.buf)) < size {
			w.buf = make([]byte, windowSize)
		}
		w.off, w.buf = off, w.buf[:size]
		if err := w.t.src.ReadMeta(ctx, w.buf, w.t.table+off); err != nil {
			w.buf = w.buf[:0]
			return 0, err
		}
	}
	b := w.buf[off-w.off:]
	switch w.t.bits {
	case 12:
		return uint32(binary.LittleEndian.Uint16(b)) >> (4 * (cluster & 1)) & 0xFFF, nil
	case 16:
		return uint32(binary.LittleEndian.Uint16(b)), nil
	}
	return binary.LittleEndian.Uint32(b) & 0x0FFFFFFF, nil
}

// isEnd reports whether a table entry ends a chain: the eight highest values do. FAT32 uses 28
// bits.
func (t *fatTree) isEnd(entry uint32) bool {
	return entry >= 1<<min(uint(t.bits), 28)-8
}

// step goes to the next cluster of a chain. The end is io.EOF.
func (w *window) step(ctx context.Context, cluster uint32) (uint32, error) {
	next, err := w.next(ctx, cluster)
	switch {
	case err != nil:
		return 0, err
	case w.t.isEnd(next):
		return 0, io.EOF
	}
	return next, w.t.valid(next, cluster)
}

// valid checks a cluster that another one, or a directory entry (0), refers to.
func (t *fatTree) valid(cluster, from uint32) error {
	if cluster < 2 || cluster > t.last {
		return disk.Corrupt(name, "table", "cluster %d follows %d: clusters are 2 to %d", cluster, from, t.last)
	}
	return nil
}

// run returns the place of byte off of the chain that begins with first, and how many bytes from
// there on are one after another on the disk: at least one, at most n. Past the chain's end it is
// io.EOF.
func (t *fatTree) run(ctx context.Context, first uint32, off, n int64) (at, length int64, err error) {
	if err := t.valid(first, 0); err != nil {
		return 0, 0, err
	}
	index := off / t.clusterSize
	if index >= int64(t.last) {
		return 0, 0, disk.Corrupt(name, "table", "the chain from cluster %d has more than %d clusters", first, t.last-1)
	}
	w := t.window()
	cluster, i := t.chains.nearest(first, index)
	for ; i < index; i++ {
		if cluster, err = w.step(ctx, cluster); err != nil {
			return 0, 0, err
		}
		if (i+1)%stride == 0 {
			t.chains.mark(first, i+1, cluster)
		}
	}
	at = t.data + int64(cluster-2)*t.clusterSize + off%t.clusterSize
	length = t.clusterSize - off%t.clusterSize
	for ; length < n; length += t.clusterSize {
		next, err := w.step(ctx, cluster)
		if err != nil || next != cluster+1 { // an error is the next run's
			break
		}
		cluster = next
	}
	return at, min(length, n), ctx.Err()
}
