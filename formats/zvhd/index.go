package zvhd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sort"
	"sync"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/formats/tables"
	"github.com/imsfs/imsfs/formats/zstream"
)

// The index, as in docs/formats/zvhd.md: groups of stored blocks, each their windows and a page of
// entries; then the number of each group's first block; then a page that describes the index.
const (
	indexMagic   = "imsfs zvhd index"
	indexVersion = 1

	windowSize = codec.DeflateWindow
	placeSize  = 16
	entrySize  = 16 + pieces*placeSize
	groupLen   = unit / entrySize // entries in a page
	groupSize  = groupLen*pieces*windowSize + unit

	// maxGroups bounds the groups' first blocks in memory.
	maxGroups = formats.MaxTables / 8
	// pageCache is what entries take in memory, at most.
	pageCache = 4 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// index is one that is in use. It is immutable but for its caches.
type index struct {
	src     formats.Source
	stored  int64    // blocks
	first   []uint32 // of each group, its first block
	pages   *tables.Cache
	windows sync.Pool // *[]byte
}

var _ directory = (*index)(nil)

// indexError is damage of an index, not of the image.
type indexError struct{ err error }

func (e *indexError) Error() string { return e.err.Error() }
func (e *indexError) Unwrap() error { return e.err }

// capacity is the number of blocks that a file of this size can have stored, of those of its disk:
// each takes a unit at least.
func capacity(size, blocks int64) int64 {
	return max(0, min(blocks, (size-2*unit)/unit, maxGroups*groupLen))
}

// indexSize is the length of an index for so many blocks, and where its two last parts begin.
func indexSize(blocks int64) (size, top, tail int64) {
	groups := ceilDiv(blocks, groupLen)
	top = groups * groupSize
	tail = top + zstream.RoundUp(groups*4, unit)
	return tail + unit, top, tail
}

// IndexSize is enough for all blocks, because the number of stored ones is not known yet. The rest
// is zeros.
func (m *image) IndexSize() int64 {
	size, _, _ := indexSize(capacity(m.src.Size(), m.walked.blocks))
	return size
}

func (m *image) UseIndex(ctx context.Context, src formats.Source) error {
	size, topAt, tailAt := indexSize(capacity(m.src.Size(), m.walked.blocks))
	if src.Size() != size {
		return formats.Corrupt(name, 0, "index: it has %d bytes, that of this image has %d", src.Size(), size)
	}
	tail := make([]byte, unit)
	if err := src.ReadAt(ctx, tail, tailAt); err != nil {
		return fmt.Errorf("zvhd: index at %#x: %w", tailAt, err)
	}
	if problem := m.checkTail(tail); problem != "" {
		return formats.Corrupt(name, tailAt, "index: %s", problem)
	}
	stored := int64(binary.LittleEndian.Uint64(tail[24:]))
	top := make([]byte, ceilDiv(stored, groupLen)*4)
	if err := src.ReadAt(ctx, top, topAt); err != nil {
		return fmt.Errorf("zvhd: index at %#x: %w", topAt, err)
	}
	if crc32.Checksum(top, castagnoli) != binary.LittleEndian.Uint32(tail[64:]) {
		return formats.Corrupt(name, topAt, "index: the checksum of the groups' first blocks is wrong")
	}
	x := &index{src: src, stored: stored, pages: tables.New(src, name, pageCache, checkPage)}
	for ; len(top) > 0; top = top[4:] {
		x.first = append(x.first, binary.LittleEndian.Uint32(top))
	}
	m.index.Store(x)
	m.places.clear()
	return nil
}

func (m *image) UsesIndex() bool { return m.index.Load() != nil }

// checkTail says why the last page is not that of an index of this image, or "".
func (m *image) checkTail(b []byte) (problem string) {
	le := binary.LittleEndian
	switch {
	case string(b[:16]) != indexMagic || !pageIsGood(b):
		return "its last page is damaged or something else"
	case le.Uint32(b[16:]) != indexVersion || le.Uint32(b[20:]) != pieces:
		return fmt.Sprintf("it is of version %d with %d pieces, must be %d with %d", le.Uint32(b[16:]), le.Uint32(b[20:]), indexVersion, pieces)
	case [32]byte(b[32:64]) != m.sum:
		return "it was made of another file"
	case le.Uint64(b[24:]) > uint64(capacity(m.src.Size(), m.walked.blocks)):
		return fmt.Sprintf("it claims %d blocks", le.Uint64(b[24:]))
	}
	return ""
}

// pageIsGood reports whether a page ends in its checksum.
func pageIsGood(b []byte) bool {
	return crc32.Checksum(b[:unit-4], castagnoli) == binary.LittleEndian.Uint32(b[unit-4:])
}

// sealPage ends a page with its checksum.
func sealPage(b []byte) {
	binary.LittleEndian.PutUint32(b[unit-4:], crc32.Checksum(b[:unit-4], castagnoli))
}

func checkPage(off int64, b []byte) error {
	if !pageIsGood(b) {
		return formats.Corrupt(name, off, "index: the checksum of a page is wrong")
	}
	return nil
}

// page returns the entries of a group.
func (x *index) page(ctx context.Context, group int64) ([]byte, error) {
	at := (group+1)*groupSize - unit
	b, err := x.pages.Get(ctx, at, unit, "page of the index")
	if err != nil {
		return nil, &indexError{err}
	}
	return b, nil
}

// entry returns that of chunk i.
func (x *index) entry(ctx context.Context, i int64) (entry, error) {
	page, err := x.page(ctx, i/groupLen)
	if err != nil {
		return nil, err
	}
	return page[i%groupLen*entrySize:][:entrySize], nil
}

func (x *index) at(ctx context.Context, i int64) (ref, bool, error) {
	if i >= x.stored {
		return ref{}, false, nil
	}
	e, err := x.entry(ctx, i)
	if err != nil {
		return ref{}, false, err
	}
	return e.ref(), true, nil
}

// find takes the run within one group.
func (x *index) find(ctx context.Context, block, max int64) (hit, error) {
	group := sort.Search(len(x.first), func(g int) bool { return int64(x.first[g]) > block })
	if group > 0 {
		h, err := x.findIn(ctx, int64(group-1), block, max)
		if h.ok || err != nil {
			return h, err
		}
	}
	if group == len(x.first) {
		return hit{}, nil
	}
	return x.findIn(ctx, int64(group), block, max)
}

func (x *index) findIn(ctx context.Context, group, block, max int64) (hit, error) {
	page, err := x.page(ctx, group)
	if err != nil {
		return hit{}, err
	}
	n := min(groupLen, int(x.stored-group*groupLen))
	at := func(k int) ref { return entry(page[k*entrySize:]).ref() }
	k := sort.Search(n, func(k int) bool { return int64(at(k).block) >= block })
	if k == n {
		return hit{}, nil
	}
	h := hit{ok: true, i: group*groupLen + int64(k), ref: at(k), run: 1}
	for h.run < max && k+int(h.run) < n && int64(at(k+int(h.run)).block) == int64(h.ref.block)+h.run {
		h.run++
	}
	return h, nil
}

// giveUp reports whether reading can go on without the index, which is no longer used then: it is
// damaged or cannot be read.
func (m *image) giveUp(ctx context.Context, x *index, err error) bool {
	var broken *indexError
	if ctx.Err() != nil || !errors.As(err, &broken) {
		return false
	}
	m.index.CompareAndSwap(x, nil)
	return true
}
