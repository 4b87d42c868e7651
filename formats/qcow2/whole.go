package qcow2

import (
	"context"
	"encoding/binary"
	"sync"

	"github.com/imsfs/imsfs/formats"
)

// maxWhole bounds the pages that are remembered.
const maxWhole = 4096

// kind is the state of a stretch, as extents tell it.
type kind struct {
	state      formats.State
	compressed bool
}

// whole remembers pages of L2 tables whose entries are all of one kind, by their offsets in the
// file. If many L1 entries name one table, a small file is a huge disk. The known pages let Extent
// walk such a disk in the time that its L1 table takes.
type whole struct {
	mu     sync.Mutex
	pages  map[int64]kind
	tables map[int64]kind // those of which all pages are known
}

func (w *whole) add(page int64, k kind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pages == nil || len(w.pages) >= maxWhole {
		w.pages, w.tables = map[int64]kind{}, map[int64]kind{}
	}
	w.pages[page] = k
}

// is reports whether the page at an offset is known to be of a kind.
func (w *whole) is(page int64, k kind) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, ok := w.pages[page]
	return ok && known == k
}

// table reports whether all pages of a table at an offset are known to be of a kind.
func (w *whole) table(at, size, page int64, k kind) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if known, ok := w.tables[at]; ok {
		return known == k
	}
	for p := at; p < at+size; p += page {
		if known, ok := w.pages[p]; !ok || known != k {
			return false
		}
	}
	if w.tables != nil {
		w.tables[at] = k
	}
	return true
}

// learn remembers the page that an extent begins with, if it covers all of it.
func (m *image) learn(ctx context.Context, e formats.Extent) error {
	if e.Off%m.pageSpan() != 0 || e.Len < m.pageSpan() {
		return nil
	}
	index := m.l1Index(e.Off)
	page, first, err := m.l1Page(ctx, index)
	if err != nil {
		return err
	}
	if l2 := int64(binary.BigEndian.Uint64(page[(index-first)*8:]) & offsetMask); l2 != 0 {
		m.whole.add(l2+m.l2Offset(e.Off), kind{e.State, e.Compressed})
	}
	return nil
}

// wholeTables returns how many of the n bytes at off, where a page of an L2 table begins, are known
// to be of a kind without reading L2 tables. It looks no further than one page of the L1 table.
func (m *image) wholeTables(ctx context.Context, off, n int64, k kind) (more int64, err error) {
	index := m.l1Index(off)
	if skipped, err := m.skipL1(ctx, index, k); err != nil || skipped > 0 {
		return min(n, (index+skipped)*m.l2Span()-off), err
	}
	page, first, err := m.l1Page(ctx, index)
	if err != nil {
		return 0, err
	}
	for end := first + int64(len(page))/8; more < n && index < end; index = m.l1Index(off + more) {
		pos := off + more
		l2 := int64(binary.BigEndian.Uint64(page[(index-first)*8:]) & offsetMask)
		switch {
		case l2 == 0 && k == (kind{}), l2 != 0 && pos%m.l2Span() == 0 && m.whole.table(l2, m.cluster(), m.pageSize(), k):
			more = (index+1)*m.l2Span() - off
		case l2 != 0 && m.whole.is(l2+m.l2Offset(pos), k):
			more += m.pageSpan()
		default:
			return more, nil
		}
	}
	return min(more, n), nil
}

// skipL1 returns how many L1 entries from index on are known to be empty because they lie in a hole
// of the file: a large L1 table of a disk that is mostly empty.
func (m *image) skipL1(ctx context.Context, index int64, k kind) (int64, error) {
	if k != (kind{}) || index%(tablePage/8) != 0 {
		return 0, nil
	}
	n, err := m.tableHoles.Zeros(ctx, m.l1Table+index*8, (m.l1Used-index)*8)
	return n / 8, err
}
