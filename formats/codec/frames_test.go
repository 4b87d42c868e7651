package codec

import (
	"bytes"
	"errors"
	"testing"

	"github.com/klauspost/compress/flate"
)

// deflateStream is a finished raw stream.
func deflateStream(t testing.TB, p []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 6)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(p); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// prefix lets DecodePrefix be tested as Decode is.
type prefix struct{ *Zstd }

func (p prefix) Decode(dst, src []byte) error { return p.DecodePrefix(dst, src) }

// Decoders of prefixes do not know where their input ends, so whatever follows it must not matter.
func TestWhatFollowsIsNotLookedAt(t *testing.T) {
	plain := text(70_000)
	z := NewZstd()
	half := len(plain) / 2
	frame := newEncoder(t, 0).Encode(nil, plain)
	two := newEncoder(t, 0).Encode(newEncoder(t, 0).Encode(nil, plain[:half]), plain[half:])
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3}, frame...)
	tests := []struct {
		name string
		dec  interface{ Decode(dst, src []byte) error }
		src  []byte
	}{
		{"deflate", NewDeflate(), deflateStream(t, plain)},
		{"zstd", prefix{z}, frame},
		{"two frames", prefix{z}, two},
		{"a frame to skip", prefix{z}, skippable},
		{"without sizes", prefix{z}, zstdStream(t, plain)},
	}
	for _, tt := range tests {
		for name, tail := range map[string][]byte{"nothing": nil, "zeros": make([]byte, 600), "noise": noise(600), "another": frame} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				dst := make([]byte, len(plain))
				if err := tt.dec.Decode(dst, append(bytes.Clone(tt.src), tail...)); err != nil || !bytes.Equal(dst, plain) {
					t.Errorf("the bytes differ, or %v", err)
				}
			})
		}
		t.Run(tt.name+"/cut", func(t *testing.T) {
			for n := range 40 {
				if err := tt.dec.Decode(make([]byte, len(plain)), tt.src[:len(tt.src)-1-n]); err == nil {
					t.Fatalf("without its last %d bytes it was decoded", n+1)
				}
			}
		})
	}
}

func TestAStreamWithoutItsEndIsRefused(t *testing.T) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 6)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(text(1000))
	w.Flush()
	if err := NewDeflate().Decode(make([]byte, 1000), b.Bytes()); err == nil || errors.Is(err, ErrLength) {
		t.Errorf("%v, want a complaint about the end", err)
	}
}
