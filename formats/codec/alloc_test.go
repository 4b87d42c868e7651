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

func TestDecodeFromAPlaceAllocatesNothing(t *testing.T) {
	const n = 1 << 20
	_, src, _ := twoPieces(t, 2*n)
	_, places, err := scan(src, n, nil)
	if err != nil {
		t.Fatal(err)
	}
	d, dst, from := NewPlaceDecoder(), make([]byte, 10_000), places[2]
	allocs := testing.AllocsPerRun(50, func() {
		if err := d.Decode(dst, from.Plain+100_000, src[from.Bit/8:], from); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations a call, want 0", allocs)
	}
}
