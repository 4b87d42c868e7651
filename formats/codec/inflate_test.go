package codec

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"testing"
)

// libraryInflate is what the standard library makes of a stream: how many bytes, and whether it is well.
func libraryInflate(dst, src []byte) (n int, err error) {
	r := flate.NewReader(bytes.NewReader(src))
	n, err = io.ReadFull(r, dst)
	if err != nil {
		return n, err
	}
	if m, err := io.CopyN(io.Discard, r, 1); m != 0 || err != io.EOF {
		return n, errors.Join(errors.New("it goes on"), err)
	}
	return n, nil
}

// streams are of all levels, with blocks of all types.
func streams(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for name, plain := range map[string][]byte{
		"text": text(20_000), "noise": noise(3000), "zeros": make([]byte, 70_000), "short": []byte("abcabcabcabc"), "byte": {7}, "none": {},
		"mixed": append(append(text(5000), noise(5000)...), make([]byte, 5000)...),
	} {
		for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, 1, 6, 9} {
			var b bytes.Buffer
			w, err := flate.NewWriter(&b, level)
			if err != nil {
				t.Fatal(err)
			}
			w.Write(plain[:len(plain)/2])
			w.Flush()
			w.Write(plain[len(plain)/2:])
			w.Close()
			all[name+" "+string(rune('0'+level%10))] = b.Bytes()
		}
	}
	return all
}

func TestInflateAgreesWithTheLibrary(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine computes, so there is nothing for the race detector: tested without it, not -short")
	}
	for name, src := range streams(t) {
		want, err := io.ReadAll(flate.NewReader(bytes.NewReader(src)))
		if err != nil {
			t.Fatal(err)
		}
		// The room around the end decides how much of the work is done by the quick loop.
		for _, room := range []int{0, 1, 7, 300} {
			dst := bytes.Repeat([]byte{0xAA}, len(want)+room)
			n, err := new(inflater).inflate(dst[:len(want)+room], append(bytes.Clone(src), make([]byte, room)...))
			if err != nil || !bytes.Equal(dst[:n], want) {
				t.Errorf("%s: %d bytes, want %d, or %v", name, n, len(want), err)
			}
		}
		for cut := range min(len(src), 100) {
			if _, err := new(inflater).inflate(make([]byte, len(want)), src[:len(src)-1-cut]); err == nil {
				t.Errorf("%s: decodes without its last %d bytes", name, cut+1)
			}
		}
	}
}

// word appends the n low bits of v to the stream that is being written, least significant bit first.
type bitWriter struct {
	b []byte
	n uint
}

func (w *bitWriter) put(v uint64, n uint) *bitWriter {
	for i := range n {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.n/8] |= byte(v>>i&1) << (w.n % 8)
		w.n++
	}
	return w
}

// code appends a Huffman word, whose most significant bit comes first.
func (w *bitWriter) code(v uint32, n uint) *bitWriter { return w.put(uint64(reversed(v, n)), n) }

func TestInflateRefuses(t *testing.T) {
	stored := func(length, complement uint64, body string) []byte {
		w := new(bitWriter).put(1, 3).put(0, 5).put(length, 16).put(complement, 16)
		return append(w.b, body...)
	}
	dynamic := func() *bitWriter { return new(bitWriter).put(1, 1).put(2, 2) }
	for _, tt := range []struct {
		name string
		src  []byte
		want error
	}{
		{"reserved block", []byte{7}, errDeflateBlock},
		{"complement", stored(3, 3, "abc"), errDeflateStored},
		{"stored too short", stored(4, 0xffff-4, "abc"), errDeflateEnd},
		{"stored without a length", []byte{1, 0}, errDeflateEnd},
		{"stored too long", stored(50, 0xffff-50, string(make([]byte, 50))), errDeflateRoom},
		{"nothing", nil, errDeflateEnd},
		{"far", new(bitWriter).put(1, 1).put(1, 2).code(0b0000001, 7).code(0, 5).put(0, 20).b, errDeflateFar},
		{"distance 30", new(bitWriter).put(1, 1).put(1, 2).code(0x30+'a', 8).code(0b0000001, 7).code(30, 5).put(0, 20).b, errDeflateSymbol},
		{"literal 286", new(bitWriter).put(1, 1).put(1, 2).code(0b11000110, 8).put(0, 20).b, errDeflateSymbol},
		{"287 literals", dynamic().put(30, 5).put(0, 20).b, errDeflateLengths},
		{"31 distances", dynamic().put(0, 5).put(30, 5).put(0, 20).b, errDeflateLengths},
		{"too many words", dynamic().put(0, 5).put(0, 5).put(0, 4).put(0b001_001_001_001, 12).put(0, 80).b, errDeflateCode},
		{"too few words", dynamic().put(0, 5).put(0, 5).put(0, 4).put(0b000_000_010_010, 12).put(0, 80).b, errDeflateCode},
		{"nothing to repeat", dynamic().put(0, 5).put(0, 5).put(0, 4).put(0b000_001_000_001, 12).code(0, 1).put(0, 80).b, errDeflateLengths},
		{"no end", dynamic().put(0, 5).put(0, 5).put(0, 4).put(0b000_001_000_000, 12).put(127<<1, 8).put(109<<1, 8).put(0, 80).b, errDeflateLengths},
		{"no word", dynamic().put(0, 5).put(0, 5).put(0, 4).put(0b000_001_000_000, 12).put(1, 1).put(0, 80).b, errDeflateSymbol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := new(inflater).inflate(make([]byte, 40), tt.src); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

// FuzzInflate compares with the library's decoder: whatever one of them takes for a stream of so many bytes the other does, too.
func FuzzInflate(f *testing.F) {
	for _, src := range streams(f) {
		f.Add(src, uint32(20_000))
		f.Add(src, uint32(15_000))
	}
	f.Fuzz(func(t *testing.T, src []byte, size uint32) {
		n := int(size % (128 << 10))
		ours, theirs := make([]byte, n+8), make([]byte, n)
		got, err := new(inflater).inflate(ours[:n:n], src)
		want, libraryErr := libraryInflate(theirs, src)
		if err == nil && got == n && (libraryErr != nil || !bytes.Equal(ours[:n], theirs)) {
			t.Errorf("%d bytes that the library does not have: it has %d, %v", n, want, libraryErr)
		}
		if libraryErr == nil && (err != nil || got != n) {
			t.Errorf("the library has %d bytes where %d were found, and %v", want, got, err)
		}
		if !bytes.Equal(ours[n:], make([]byte, 8)) {
			t.Error("bytes after the buffer were written")
		}
	})
}
