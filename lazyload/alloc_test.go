//go:build !race

package lazyload

import "testing"

// The race detector empties pools at random, so this test is not built with it.
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
	if n := testing.AllocsPerRun(500, read); n >= 1 { // less than 1, because the collector may empty the pool of views
		t.Errorf("%v allocations a read, want 0", n)
	}
}
