package blockstore

import (
	"fmt"
	"slices"
	"sync"
)

// Sum computes the digest of a disk while the disk is read for another purpose. Add passes it the
// parts that are read; all others count as zeros. It is safe for concurrent use.
type Sum struct {
	size int64

	mu   sync.Mutex // guards the following
	ids  []SegmentID
	done []bool            // segments whose ID is in ids
	open map[int64]Segment // that more parts may come for
}

// maxOpen is the number of segments that are kept open for parts that come out of order.
const maxOpen = 1024

// NewSum returns a Sum for a disk of size bytes.
func NewSum(size int64) (*Sum, error) {
	if size < 0 || size > MaxDiskSize {
		return nil, fmt.Errorf("a disk of %d bytes: at most %d have a digest", size, int64(MaxDiskSize))
	}
	n := Segments(size)
	return &Sum{size: size, ids: make([]SegmentID, n), done: make([]bool, n), open: map[int64]Segment{}}, nil
}

// Add adds the plain bytes at off. They must be whole blocks, except at the disk's end. Each part
// must come once, in about ascending order. A part that comes more than a thousand segments late is
// an error.
func (s *Sum) Add(off int64, plain []byte) error {
	var entries []Entry
	for block := range slices.Chunk(plain, BlockSize) {
		entries = append(entries, EntryOf(block))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, e := range entries {
		block := off/BlockSize + int64(i)
		seg := block / SegmentBlocks
		if s.done[seg] {
			return fmt.Errorf("digest: the bytes at %d come too late", off)
		}
		if s.open[seg] == nil {
			s.open[seg] = s.zeros(seg)
		}
		s.open[seg][block%SegmentBlocks] = e
	}
	for len(s.open) > maxOpen {
		s.close(s.first())
	}
	return nil
}

// zeros returns a segment without any part.
func (s *Sum) zeros(seg int64) Segment {
	segment := make(Segment, SegmentLen(s.size, seg))
	for i := range segment {
		segment[i].State = Zero
	}
	return segment
}

func (s *Sum) first() int64 {
	first := int64(-1)
	for seg := range s.open {
		if first < 0 || seg < first {
			first = seg
		}
	}
	return first
}

func (s *Sum) close(seg int64) {
	s.ids[seg], s.done[seg] = s.open[seg].ID(), true
	delete(s.open, seg)
}

// Digest returns the digest of the disk. All parts must have been added.
func (s *Sum) Digest() Digest {
	s.mu.Lock()
	defer s.mu.Unlock()
	for seg := range s.open {
		s.close(seg)
	}
	for seg := range s.ids {
		if s.done[seg] {
			continue
		}
		s.ids[seg], s.done[seg] = ZeroSegmentID, true
		if last := s.zeros(int64(seg)); len(last) < SegmentBlocks {
			s.ids[seg] = last.ID()
		}
	}
	return DigestOf(s.size, slices.Values(s.ids))
}
