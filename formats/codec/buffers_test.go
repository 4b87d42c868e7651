package codec

import "testing"

func TestBuffers(t *testing.T) {
	var b Buffers
	for _, n := range []int64{0, 1, 2, 1000, 1024, 1025} {
		buf := b.Get(n)
		if c := cap(*buf); int64(len(*buf)) != n || int64(c) < n || c&(c-1) != 0 {
			t.Errorf("%d bytes: length %d, capacity %d", n, len(*buf), c)
		}
		b.Put(buf)
	}
	b.Put(nil)
	if buf := b.Get(1); buf == nil {
		t.Error("nil came back")
	}
}
