package lazyload

import "iter"

// piece is the part of a range within one unit.
type piece struct {
	unit    int64 // offset of the unit in the disk
	skip, n int64 // the part: n bytes, after skip bytes of the unit
}

// pieces cuts [off, off+n) at the borders of units of the given size. For example, pieces(3, 6, 4)
// are byte 3 of unit 0, all of unit 4, and byte 0 of unit 8. off and n must not be negative, nor
// their sum overflow.
func pieces(off, n, size int64) iter.Seq[piece] {
	return func(yield func(piece) bool) {
		for end := off + n; off < end; {
			skip := off % size
			p := piece{unit: off - skip, skip: skip, n: min(size-skip, end-off)}
			if !yield(p) {
				return
			}
			off += p.n
		}
	}
}
