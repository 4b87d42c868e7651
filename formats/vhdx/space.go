package vhdx

import (
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// space tells which parts of a file are in use: one bit for each MiB of it, at most 16 MiB of bits.
type space struct {
	taken bitmap // by one that must have it for itself
	kept  bitmap // by blocks that are unmapped and have not lost their place
	size  int64  // of the file, bytes
	first int64  // where the first block lies; the file's end if there is none
}

// newSpace sets the bits of all structures but blocks.
func newSpace(m *image) *space {
	size := m.src.Size()
	words := size/mib/64 + 1
	s := &space{taken: make(bitmap, words), kept: make(bitmap, words), size: size, first: size}
	for _, t := range m.layout.taken {
		s.set(s.taken, t.off, t.end-t.off)
	}
	return s
}

// take gives [off, off+n) to a block, and reports whether no other has a part of it.
func (s *space) take(off, n int64) bool {
	s.first = min(s.first, off)
	return s.set(s.taken, off, n)
}

// keep marks [off, off+n) as not lost, even if another block has it.
func (s *space) keep(off, n int64) { s.set(s.kept, off, n) }

// bitmap has a bit for each MiB of a file, or each block of a disk.
type bitmap []uint64

func (b bitmap) has(u int64) bool { return b[u/64]>>(u%64)&1 != 0 }

func (b bitmap) set(u int64) { b[u/64] |= 1 << (u % 64) }

// set sets the bits of [off, off+n) and reports whether all were clear. The part past the file's
// end has no bits.
func (s *space) set(b bitmap, off, n int64) bool {
	free := true
	for u := off / mib; u < (min(off+n, s.size)+mib-1)/mib; u++ {
		free = free && !b.has(u)
		b.set(u)
	}
	return free
}

// leaks reports the unused parts of the file. The part before the first block does not count:
// writers leave room there for the BAT to grow. leaks stops when report returns false.
func (s *space) leaks(report func(formats.Problem) (more bool)) {
	from := int64(-1)
	for u := roundUp(s.first, mib) / mib; u*mib < s.size; u++ {
		used := s.taken.has(u) || s.kept.has(u)
		switch {
		case !used && from < 0:
			from = u * mib
		case used && from >= 0:
			if !report(leak(from, u*mib)) {
				return
			}
			from = -1
		}
	}
	if from >= 0 {
		report(leak(from, s.size))
	}
}

func leak(from, to int64) formats.Problem {
	return formats.Problem{Off: from, Text: fmt.Sprintf("%d bytes belong to nothing", to-from), Leak: true}
}
