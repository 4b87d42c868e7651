package qcow2

import (
	"encoding/binary"
	"iter"
)

// placement is a cluster of the disk with the length of its chunk. The chunk's offset follows from
// the earlier placements.
type placement struct {
	ci int64
	n  int64
}

// placed remembers placements, in ascending order, in a few bytes each: a run of whole clusters
// takes as much as one.
type placed struct {
	cluster int64 // size
	blocks  [][]byte
	last    int64 // ci
	gap     int64 // before the run of whole clusters that is not in blocks yet
	whole   int64 // its length
}

const placedBlock = 64 << 10

func newPlaced(cluster int64) *placed { return &placed{cluster: cluster, last: -1} }

// add takes the next placement.
func (p *placed) add(ci, n int64) {
	gap := ci - p.last - 1
	p.last = ci
	if n == p.cluster && p.whole > 0 && gap == 0 {
		p.whole++
		return
	}
	p.flush()
	if n == p.cluster {
		p.gap, p.whole = gap, 1
		return
	}
	p.put(gap<<1|1, n)
}

// flush writes down the run of whole clusters.
func (p *placed) flush() {
	if p.whole > 0 {
		p.put(p.gap<<1, p.whole)
	}
	p.whole = 0
}

func (p *placed) put(a, b int64) {
	i := len(p.blocks) - 1
	if i < 0 || placedBlock-len(p.blocks[i]) < 2*binary.MaxVarintLen64 {
		p.blocks = append(p.blocks, make([]byte, 0, placedBlock))
		i++
	}
	p.blocks[i] = binary.AppendUvarint(binary.AppendUvarint(p.blocks[i], uint64(a)), uint64(b))
}

// all yields the placements.
func (p *placed) all() iter.Seq[placement] {
	p.flush()
	return func(yield func(placement) bool) {
		ci := int64(-1)
		for _, b := range p.blocks {
			for len(b) > 0 {
				a, used := binary.Uvarint(b)
				n, more := binary.Uvarint(b[used:])
				b = b[used+more:]
				ci += int64(a>>1) + 1
				if a&1 != 0 {
					if !yield(placement{ci, int64(n)}) {
						return
					}
					continue
				}
				for i := range int64(n) {
					if !yield(placement{ci + i, p.cluster}) {
						return
					}
				}
				ci += int64(n) - 1
			}
		}
	}
}
