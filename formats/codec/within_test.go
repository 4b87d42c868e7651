package codec

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestZstdDecodeWithin decodes into more room than the plain bytes take: the bytes are right, nothing behind the room is
// touched, and a frame of another length is refused although it would fit.
func TestZstdDecodeWithin(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	z := NewZstd()
	enc, err := NewBareZstdEncoder(3, 24<<10)
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		n := 1 + rnd.IntN(24<<10)
		plain := make([]byte, n)
		for i := range plain {
			plain[i] = byte(rnd.IntN(1 + rnd.IntN(40)))
		}
		frame := enc.Encode(nil, plain)
		for _, more := range []int{0, 1, 15, 16, 17, 4096} {
			buf := bytes.Repeat([]byte{0xa5}, n+more+64)
			if err := z.DecodeWithin(buf[:n+more], n, frame); err != nil {
				t.Fatalf("%d bytes and %d more: %v", n, more, err)
			}
			if !bytes.Equal(buf[:n], plain) {
				t.Fatalf("%d bytes and %d more: decoded to others", n, more)
			}
			if !bytes.Equal(buf[n+more:], bytes.Repeat([]byte{0xa5}, 64)) {
				t.Fatalf("%d bytes and %d more: written after the room", n, more)
			}
			if more > 0 && z.DecodeWithin(buf[:n+more], n+1, frame) == nil || z.DecodeWithin(buf[:n+more], n-1, frame) == nil {
				t.Fatalf("%d bytes and %d more: a frame of another length was taken", n, more)
			}
		}
	}
}
