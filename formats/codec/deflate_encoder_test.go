package codec

import (
	"bytes"
	"testing"
)

func TestDeflateEncoderIsUndone(t *testing.T) {
	e, d := NewDeflateEncoder(), NewDeflate()
	for _, plain := range [][]byte{text(1), text(512), text(70_000), noise(70_000), make([]byte, 2<<20)} {
		for range 2 { // the second time with what the pool has
			packed, err := e.Encode([]byte("before"), plain)
			if err != nil || !bytes.HasPrefix(packed, []byte("before")) {
				t.Fatalf("%d bytes: %v", len(plain), err)
			}
			got := make([]byte, len(plain))
			if err := d.Decode(got, packed[6:]); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes: others come back, or %v", len(plain), err)
			}
		}
	}
}

// Bytes that repeat just further back than the window are not referred to.
func TestDeflateEncoderKeepsToItsWindow(t *testing.T) {
	block := noise(deflateWindow + 100)
	packed, err := NewDeflateEncoder().Encode(nil, append(bytes.Clone(block), block...))
	if err != nil || len(packed) < 2*len(block) {
		t.Errorf("%d bytes of %d that repeat after the window: %v", len(packed), 2*len(block), err)
	}
	near, err := NewDeflateEncoder().Encode(nil, append(bytes.Clone(block[:2000]), block[:2000]...))
	if err != nil || len(near) > 2500 {
		t.Errorf("%d bytes of 4000 that repeat within the window: %v", len(near), err)
	}
}
