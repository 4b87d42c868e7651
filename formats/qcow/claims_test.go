package qcow

import (
	"maps"
	"math/rand/v2"
	"testing"
)

// A file with more claims than are kept at once is gone through in passes, and none is forgotten.
func TestClaimsInPasses(t *testing.T) {
	const file, limit = 1 << 30, 1 << 10
	rnd := rand.New(rand.NewPCG(5, 6))
	want := map[int64]int{}
	var offs []int64
	for range 2*limit + limit/2 {
		off := rnd.Int64N(file)
		offs = append(offs, off)
		want[off] = min(want[off]+1, 2)
	}
	got, passes := map[int64]int{}, 0
	for c := (&checker{end: file, limit: limit}); c.start < file; passes++ {
		for _, off := range offs {
			c.claim(claim{off: off, n: 512})
		}
		for _, k := range c.claims {
			got[k.off] = min(got[k.off]+1, 2)
		}
		c.start, c.end, c.claims = c.end, file, c.claims[:0]
	}
	if !maps.Equal(got, want) || passes < 3 || passes > 8 {
		t.Errorf("%d places in %d passes, want %d", len(got), passes, len(want))
	}
	same := &checker{end: file, limit: limit}
	for range 3 * limit {
		same.claim(claim{off: 512, n: 512})
	}
	if n := len(same.claims); n < 2 || n >= limit || same.end != file {
		t.Errorf("%d claims are kept of many that are the same", n)
	}
}
