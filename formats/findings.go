package formats

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"slices"
)

// MaxFindings bounds the problems that Findings keeps: a file whose every entry is wrong is known
// to be damaged by then.
const MaxFindings = 10_000

// Findings holds back the problems that a Checker finds, so that they are reported in the order of
// the file though tables are walked in the order of the disk. The zero value is usable.
type Findings struct {
	held   []Problem
	sorted bool
	lost   int
	lostAt int64
}

// Damage adds a problem.
func (f *Findings) Damage(off int64, format string, args ...any) {
	f.Add(Problem{Off: off, Text: fmt.Sprintf(format, args...)})
}

// Leak adds n bytes at off to which nothing refers.
func (f *Findings) Leak(off, n int64) {
	f.Add(Problem{Off: off, Text: fmt.Sprintf("%d bytes belong to nothing", n), Leak: true})
}

// Add adds a problem of either kind.
func (f *Findings) Add(p Problem) {
	if f.Full() {
		f.lost++
		f.lostAt = p.Off
		return
	}
	f.held, f.sorted = append(f.held, p), false
}

// Empty reports whether nothing is held.
func (f *Findings) Empty() bool { return len(f.held) == 0 }

// Full reports whether the next problem would only be counted.
func (f *Findings) Full() bool { return len(f.held) == MaxFindings }

// Release reports the problems before an offset of the file, and keeps the others.
func (f *Findings) Release(end int64, report func(Problem)) {
	if len(f.held) == 0 {
		return
	}
	if !f.sorted {
		slices.SortStableFunc(f.held, func(a, b Problem) int { return cmp.Compare(a.Off, b.Off) })
		f.sorted = true
	}
	n, _ := slices.BinarySearchFunc(f.held, end, func(p Problem, end int64) int { return cmp.Compare(p.Off, end) })
	for _, p := range f.held[:n] {
		report(p)
	}
	f.held = slices.Delete(f.held, 0, n)
}

// Report reports all problems, and how many more there were.
func (f *Findings) Report(report func(Problem)) {
	f.Release(math.MaxInt64, report)
	if f.lost > 0 {
		report(Problem{Off: f.lostAt, Text: fmt.Sprintf("%d more problems are not listed", f.lost)})
	}
}

// Usage records which units of a file are in use: one bit each.
type Usage struct {
	words []uint64
	n     int64
}

// NewUsage makes the record of a file of n unused units.
func NewUsage(n int64) *Usage { return &Usage{make([]uint64, (n+63)/64), n} }

// Use marks unit i and reports whether it was marked before.
func (u *Usage) Use(i int64) (again bool) {
	word, bit := &u.words[i/64], uint64(1)<<(i%64)
	again = *word&bit != 0
	*word |= bit
	return again
}

// Unused yields the runs [from, to) of unused units.
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

// next returns the first unit from i on whose bit has the value, n if there is none.
func (u *Usage) next(i int64, value uint64) int64 {
	for i < u.n {
		word := u.words[i/64] ^ (value - 1) // the wanted bits are 1
		if rest := word >> (i % 64); rest != 0 {
			return min(i+int64(bits.TrailingZeros64(rest)), u.n)
		}
		i = (i/64 + 1) * 64
	}
	return u.n
}
