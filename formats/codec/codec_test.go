package codec

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"github.com/imsfs/imsfs/formats"
)

// decoder is what the tests ask of every codec.
type decoder interface{ Decode(dst, src []byte) error }

// text is n bytes that compress about as well as files do.
func text(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%x line %d of the file\n", r.Uint64N(1<<30), b.Len())
	}
	return b.Bytes()[:n]
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(2, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func newEncoder(t testing.TB, level int) *ZstdEncoder {
	t.Helper()
	e, err := NewZstdEncoder(level, 2<<20)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func zstdFrame(t testing.TB, plain []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(plain, nil)
}

// zstdStream has no content size in its frame.
func zstdStream(t testing.TB, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	for half := range 2 { // two writes, or the writer would know the size after all
		if _, err := w.Write(plain[half*len(plain)/2 : (half+1)*len(plain)/2]); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zlibStream(t testing.TB, plain []byte, finish bool) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if finish {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

type variant struct {
	name   string
	dec    decoder
	encode func(testing.TB, []byte) []byte
}

func variants() []variant {
	z, zl := NewZstd(), NewZlib()
	return []variant{
		{"zstd", z, func(t testing.TB, p []byte) []byte { return newEncoder(t, 0).Encode(nil, p) }},
		{"zstd-no-checksum", z, func(t testing.TB, p []byte) []byte { return zstdFrame(t, p, zstd.WithEncoderCRC(false)) }},
		{"zstd-no-size", z, zstdStream},
		{"zlib-flushed", zl, func(t testing.TB, p []byte) []byte { return zlibStream(t, p, false) }},
		{"zlib-finished", zl, func(t testing.TB, p []byte) []byte { return zlibStream(t, p, true) }},
		{"deflate", NewDeflate(), deflateStream},
		{"zstd-prefix", prefix{z}, func(t testing.TB, p []byte) []byte { return newEncoder(t, 0).Encode(nil, p) }},
	}
}

func TestDecodeGivesExactlyThePlainBytes(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine computes, so there is nothing for the race detector: tested without it, not -short")
	}
	for _, v := range variants() {
		for _, n := range []int{1, 511, 4096, 65536, 1 << 20, 2<<20 + 17} {
			for kind, plain := range map[string][]byte{"text": text(n), "noise": noise(n), "zeros": make([]byte, n)} {
				t.Run(fmt.Sprintf("%s/%s/%d", v.name, kind, n), func(t *testing.T) {
					// What lies behind dst in the same array must not change.
					buf := bytes.Repeat([]byte{0xAA}, n+64)
					if err := v.dec.Decode(buf[:n], v.encode(t, plain)); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(buf[:n], plain) {
						t.Error("the decoded bytes differ")
					}
					if !bytes.Equal(buf[n:], bytes.Repeat([]byte{0xAA}, 64)) {
						t.Error("bytes after the buffer were written")
					}
				})
			}
		}
	}
}

func TestDecodeRefusesAnotherLength(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine computes, so there is nothing for the race detector: tested without it, not -short")
	}
	plain := text(1 << 20)
	for _, v := range variants() {
		src := v.encode(t, plain)
		for _, n := range []int{0, 1, len(plain) / 2, len(plain) - 1, len(plain) + 1, 2 * len(plain)} {
			t.Run(fmt.Sprintf("%s/%d", v.name, n), func(t *testing.T) {
				err := v.dec.Decode(make([]byte, n), src)
				// Without a content size the library may call a block too large before it counts the bytes.
				if err == nil || n != 1 && !errors.Is(err, ErrLength) {
					t.Fatalf("Decode into %d bytes = %v, want ErrLength", n, err)
				}
			})
		}
	}
}

func TestDecodeRefusesDamage(t *testing.T) {
	plain := text(200_000)
	for _, v := range variants() {
		src := v.encode(t, plain)
		t.Run(v.name, func(t *testing.T) {
			dst := make([]byte, len(plain))
			for _, bad := range [][]byte{nil, src[:1], src[:len(src)/2], bytes.Repeat([]byte{0x5A}, 4096)} {
				if err := v.dec.Decode(dst, bad); err == nil {
					t.Errorf("%d damaged bytes were decoded", len(bad))
				}
			}
			// A decoder must be as good as new after damage.
			if err := v.dec.Decode(dst, src); err != nil || !bytes.Equal(dst, plain) {
				t.Errorf("decoding after damage: %v", err)
			}
		})
	}
}

// TestOurFramesDetectEveryFlippedByte is what the checksum in our own frames is for.
func TestOurFramesDetectEveryFlippedByte(t *testing.T) {
	plain := text(20_000)
	src := newEncoder(t, 0).Encode(nil, plain)
	z, dst := NewZstd(), make([]byte, len(plain))
	for i := range src {
		bad := bytes.Clone(src)
		bad[i] ^= 0x40
		if err := z.Decode(dst, bad); err == nil && !bytes.Equal(dst, plain) {
			t.Fatalf("byte %d of the frame changed and other bytes were decoded without an error", i)
		}
	}
}

func TestZstdBombIsStoppedAtTheBuffer(t *testing.T) {
	bomb := zstdStream(t, make([]byte, 256<<20))
	err := NewZstd().Decode(make([]byte, 4096), bomb)
	if !errors.Is(err, ErrLength) {
		t.Fatalf("Decode = %v, want ErrLength", err)
	}
}

func TestZstdRefusesAHugeWindow(t *testing.T) {
	src := zstdFrame(t, text(1<<20), zstd.WithWindowSize(128<<20), zstd.WithSingleSegment(false))
	// The encoder shrinks the window it declares to the content, so say 128 MiB by hand: RFC 8878, 3.1.1.1.2.
	src[5] = 17 << 3
	err := NewZstd().Decode(make([]byte, 1<<20), src)
	if !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Fatalf("Decode = %v, want ErrWindowSizeExceeded", err)
	}
}

func TestEncoderLevels(t *testing.T) {
	for _, level := range []int{-1, MaxZstdLevel + 1} {
		if _, err := NewZstdEncoder(level, 2<<20); err == nil {
			t.Errorf("level %d was accepted", level)
		}
	}
	for _, size := range []int{-1, 0, formats.MaxCompressedCluster + 1} {
		if _, err := NewZstdEncoder(0, size); err == nil {
			t.Errorf("inputs of %d bytes were accepted", size)
		}
	}
	plain := text(1 << 20)
	if a, b := newEncoder(t, 0).Encode(nil, plain), newEncoder(t, 3).Encode(nil, plain); !bytes.Equal(a, b) {
		t.Error("level 0 is not level 3")
	}
	if a, b := newEncoder(t, 1).Encode(nil, plain), newEncoder(t, 19).Encode(nil, plain); len(a) <= len(b) {
		t.Errorf("level 1 gives %d bytes, level 19 gives %d", len(a), len(b))
	}
}

func TestEncodeMakesOneFrameWithItsSizeAndNoLargerWindow(t *testing.T) {
	for _, n := range []int{2000, 64 << 10, 2 << 20} {
		src := newEncoder(t, 0).Encode([]byte("head"), text(n))
		var h zstd.Header
		if err := h.Decode(src[4:]); err != nil {
			t.Fatal(err)
		}
		if !h.HasFCS || h.FrameContentSize != uint64(n) || h.WindowSize > uint64(n) || !h.HasCheckSum {
			t.Errorf("%d bytes gave the frame header %+v", n, h)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	enc := newEncoder(t, 0)
	for _, dec := range []decoder{NewZstd(), NewZlib()} {
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				plain := text(30_000 + 1000*g)
				src := enc.Encode(nil, plain)
				if _, ok := dec.(*Zlib); ok {
					src = zlibStream(t, plain, g%2 == 0)
				}
				for range 20 {
					dst := make([]byte, len(plain))
					if err := dec.Decode(dst, src); err != nil || !bytes.Equal(dst, plain) {
						t.Errorf("goroutine %d: wrong bytes or %v", g, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}
