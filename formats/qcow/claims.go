package qcow

import (
	"cmp"
	"slices"
)

// maxClaims bounds the claims in memory: 24 MiB.
const maxClaims = 1 << 20

// claim is a piece of the file that something occupies.
type claim struct {
	off, n     int64
	table      bool // an L2 table, the L1 table or the header
	compressed bool
}

func (k *claim) what() string {
	switch {
	case k.table:
		return "a table"
	case k.compressed:
		return "a compressed cluster"
	}
	return "a cluster"
}

// claim keeps a piece of the file if it begins in the window.
func (c *checker) claim(k claim) {
	if k.off < c.start || k.off >= c.end {
		return
	}
	if c.claims = append(c.claims, k); len(c.claims) == c.limit {
		c.shrink()
	}
}

// shrink makes room. It keeps two of equal claims, which are enough to show the overlap, and leaves
// the upper half of the others for another pass.
func (c *checker) shrink() {
	c.sort()
	kept := c.claims[:0]
	for _, k := range c.claims {
		if n := len(kept); n < 2 || kept[n-1] != k || kept[n-2] != k {
			kept = append(kept, k)
		}
	}
	c.claims = kept
	if len(kept) < c.limit/2 {
		return
	}
	c.end = kept[len(kept)/2].off
	n, _ := slices.BinarySearchFunc(kept, c.end, func(k claim, off int64) int { return cmp.Compare(k.off, off) })
	c.claims = kept[:n]
}

func (c *checker) sort() {
	slices.SortFunc(c.claims, func(a, b claim) int { return cmp.Or(cmp.Compare(a.off, b.off), cmp.Compare(a.n, b.n)) })
}
