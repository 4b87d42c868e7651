//go:build !race

package lazyload

import "testing"

// Not under the race detector, which empties pools at random.
func TestWarmReadAllocatesNothing(t *testing.T) {
	img := &striped{size: 1 << 20, cluster: 64 * kib, pattern: "cz"}
	d := openStriped(t, img, Config{})
	scratch, ctx := make([]byte, 256*kib), t.Context()
	read := func() {
		v, err := d.View(ctx, scratch, 10*kib)
		if err != nil {
			t.Fatal(err)
		}
		v.Release()
	}
	read()
	d.waitAhead()
	if n := testing.AllocsPerRun(500, read); n >= 1 { // below 1: the collector may empty the pool of views
		t.Errorf("%v allocations a read, want 0", n)
	}
}
