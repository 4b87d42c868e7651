//go:build !race

package codec

import "testing"

// The race detector makes sync.Pool drop things at random, so this holds without it only.
func TestDecodeAllocatesNothing(t *testing.T) {
	plain := text(256 << 10)
	dst := make([]byte, len(plain))
	for _, v := range variants() {
		src := v.encode(t, plain)
		allocs := testing.AllocsPerRun(50, func() {
			if err := v.dec.Decode(dst, src); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations a call, want 0", v.name, allocs)
		}
	}
}
