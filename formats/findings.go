package formats

import (
	"cmp"
	"fmt"
	"iter"
	"math/bits"
	"slices"
)

// maxFindings bounds what Findings keeps: a file whose every entry is wrong is known to be damaged by then.
const maxFindings = 10_000

// Findings holds back what a Checker finds, so that it is told in file order though tables are walked in the disk's.
// The zero value is usable.
type Findings struct {
	held []Problem
	lost int
}

// Damage adds a problem.
func (f *Findings) Damage(off int64, format string, args ...any) {
	f.add(Problem{Off: off, Text: fmt.Sprintf(format, args...)})
}

// Leak adds n bytes at off to which nothing refers.
func (f *Findings) Leak(off, n int64) {
	f.add(Problem{Off: off, Text: fmt.Sprintf("%d bytes belong to nothing", n), Leak: true})
}

func (f *Findings) add(p Problem) {
	if len(f.held) == maxFindings {
		f.lost++
		return
	}
	f.held = append(f.held, p)
}

// Empty tells whether nothing was added.
func (f *Findings) Empty() bool { return len(f.held) == 0 }

// Report tells all of it, and how much more there was.
func (f *Findings) Report(report func(Problem)) {
	slices.SortStableFunc(f.held, func(a, b Problem) int { return cmp.Compare(a.Off, b.Off) })
	for _, p := range f.held {
		report(p)
	}
	if f.lost > 0 {
		report(Problem{Off: f.held[len(f.held)-1].Off, Text: fmt.Sprintf("%d more problems are not listed", f.lost)})
	}
}

// Usage tells a Checker which units of a file something refers to: one bit each.
type Usage struct {
	words []uint64
	n     int64
}

// NewUsage makes the record of a file of n units, none of which is used.
func NewUsage(n int64) *Usage { return &Usage{make([]uint64, (n+63)/64), n} }

// Use marks unit i, and tells whether it was marked before.
func (u *Usage) Use(i int64) (again bool) {
	word, bit := &u.words[i/64], uint64(1)<<(i%64)
	again = *word&bit != 0
	*word |= bit
	return again
}

// Unused yields the runs [from, to) of units that nothing refers to.
func (u *Usage) Unused() iter.Seq2[int64, int64] {
	return func(yield func(from, to int64) bool) {
		for at := int64(0); at < u.n; {
			from := u.next(at, 0)
			to := u.next(from, 1)
			if from < to && !yield(from, to) {
				return
			}
			at = to
		}
	}
}

// next is the first unit from i on whose bit has the value, n if there is none.
func (u *Usage) next(i int64, value uint64) int64 {
	for i < u.n {
		word := u.words[i/64] ^ (value - 1) // what is looked for is 1
		if rest := word >> (i % 64); rest != 0 {
			return min(i+int64(bits.TrailingZeros64(rest)), u.n)
		}
		i = (i/64 + 1) * 64
	}
	return u.n
}
