package codec

import (
	"bytes"
	"testing"
)

func TestZlibEncoder(t *testing.T) {
	for _, plain := range [][]byte{nil, text(100), text(64 << 10), noise(64 << 10), make([]byte, 1<<20)} {
		for level := range MaxZlibLevel + 1 {
			e, err := NewZlibEncoder(level)
			if err != nil {
				t.Fatal(err)
			}
			var first []byte
			for range 3 { // the pooled encoder must leave no trace
				stream, err := e.Encode([]byte("before"), plain)
				if err != nil || !bytes.HasPrefix(stream, []byte("before")) {
					t.Fatalf("level %d: %v, or not appended", level, err)
				}
				if first == nil {
					first = stream
				}
				if !bytes.Equal(stream, first) {
					t.Errorf("level %d: the same bytes gave others", level)
				}
			}
			got := make([]byte, len(plain))
			if err := NewZlib().DecodeFinished(got, first[6:]); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("level %d: %v, or other bytes", level, err)
			}
			if limit := len(plain) + len(plain)/500 + 100; len(first) > limit {
				t.Errorf("level %d: %d bytes of %d", level, len(first), len(plain))
			}
		}
	}
}

func TestZlibEncoderRefusesLevels(t *testing.T) {
	for _, level := range []int{-1, 10, 100} {
		if _, err := NewZlibEncoder(level); err == nil {
			t.Errorf("level %d was accepted", level)
		}
	}
}
