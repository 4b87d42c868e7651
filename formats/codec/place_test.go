package codec

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// twoPieces is text, with noise in the middle of each half, cut in two, each deflated up to a sync flush, as one stream.
func twoPieces(t testing.TB, n int) (plain, first, second []byte) {
	t.Helper()
	plain = text(n)
	copy(plain[n/8:], noise(n/4)) // makes stored blocks
	copy(plain[n*5/8:], noise(n/4))
	whole := zlibStream(t, plain, false)[2:]
	e := newChainEncoder(t, 6)
	first, second = e.Encode(nil, plain[:n/2], nil), e.Encode(nil, plain[n/2:], plain[:n/2])
	if bytes.Equal(whole, first) {
		t.Fatal("the first half is the whole")
	}
	return plain, first, second
}

func newChainEncoder(t testing.TB, level int) *ChainEncoder {
	t.Helper()
	e, err := NewChainEncoder(level)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// scan gives the places in src and decodes all of it.
func scan(src []byte, n int, window []byte) (plain []byte, places []Place, err error) {
	plain = make([]byte, n)
	s := Scan{Src: src, From: Place{Window: window}, End: int64(n), Flushed: true, Passed: func(p Place) {
		p.Window = bytes.Clone(p.Window)
		places = append(places, p)
	}}
	err = s.Decode(plain, 0)
	return plain, places, err
}

func TestScanFindsPlacesToStartFrom(t *testing.T) {
	const n = 1 << 20
	plain, first, second := twoPieces(t, 2*n)
	d := NewPlaceDecoder()
	for i, src := range [][]byte{first, second} {
		want, before := plain[i*n:][:n], plain[:i*n]
		before = before[len(before)-min(len(before), DeflateWindow):]
		got, places, err := scan(src, n, before)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("piece %d: wrong bytes or %v", i, err)
		}
		if len(places) < 5 || places[len(places)-1].Bit != int64(len(src))*8 {
			t.Fatalf("piece %d of %d bytes: %d places", i, len(src), len(places))
		}
		rnd := rand.New(rand.NewPCG(5, 5))
		for _, p := range places {
			if from := max(0, p.Plain-DeflateWindow); !bytes.HasSuffix(p.Window, want[from:p.Plain]) {
				t.Errorf("the window at %d holds other bytes", p.Plain)
			}
			off := p.Plain + rnd.Int64N(n-p.Plain+1)
			dst := make([]byte, rnd.Int64N(n-off+1))
			if err := d.Decode(dst, off, src[p.Bit/8:], p); err != nil || !bytes.Equal(dst, want[off:off+int64(len(dst))]) {
				t.Errorf("from %d [%d, +%d): wrong bytes or %v", p.Plain, off, len(dst), err)
			}
		}
	}
}

// TestScanFromAPlace wants the same places behind a place as from the start.
func TestScanFromAPlace(t *testing.T) {
	const n = 1 << 20
	plain, src, _ := twoPieces(t, 2*n)
	_, places, err := scan(src, n, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, from := range places {
		var bits []int64
		s := Scan{Src: src[from.Bit/8:], From: from, End: n, Flushed: true, Passed: func(p Place) { bits = append(bits, p.Bit) }}
		dst := make([]byte, n-from.Plain)
		if err := s.Decode(dst, from.Plain); err != nil || !bytes.Equal(dst, plain[from.Plain:n]) {
			t.Fatalf("from %d: wrong bytes or %v", from.Plain, err)
		}
		var want []int64
		for _, p := range places[i+1:] {
			want = append(want, p.Bit)
		}
		if !slices.Equal(bits, want) {
			t.Fatalf("from place %d the others are at %v, want %v", i, bits, want)
		}
	}
}

func TestScanRefusesWhatIsNotFlushed(t *testing.T) {
	plain := text(300_000)
	flushed := zlibStream(t, plain, false)[2:]
	finished := zlibStream(t, plain, true)[2:]
	for _, c := range []struct {
		name string
		src  []byte
		n    int
	}{
		{"finished", finished, len(plain)},
		{"finished and no checksum", finished[:len(finished)-4], len(plain)},
		{"no flush", flushed[:len(flushed)-5], len(plain)},
		{"half a flush", flushed[:len(flushed)-2], len(plain)},
		{"more input", append(bytes.Clone(flushed), 0), len(plain)},
		{"cut", flushed[:len(flushed)/2], len(plain)},
		{"a byte less", flushed, len(plain) - 1},
		{"a byte more", flushed, len(plain) + 1},
		{"nothing", nil, len(plain)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, _, err := scan(c.src, c.n, nil); err == nil {
				t.Error("it was decoded")
			}
		})
	}
	if _, _, err := scan(flushed, len(plain), nil); err != nil {
		t.Errorf("the whole: %v", err)
	}
	if _, _, err := scan(finished[:len(finished)-4], len(plain), nil); !errors.Is(err, errFinal) {
		t.Errorf("a finished stream: %v, want %v", err, errFinal)
	}
}

// TestReferencesBeforeTheWindowAreRefused decodes the second half without the first.
func TestReferencesBeforeTheWindowAreRefused(t *testing.T) {
	_, _, second := twoPieces(t, 200_000)
	if err := NewPlaceDecoder().Decode(make([]byte, 100_000), 0, second, Place{}); err == nil {
		t.Error("references to what is not there were decoded")
	}
}

func TestChainEncoder(t *testing.T) {
	const n, cut = 300_000, 70_000
	plain := text(n)
	for level := range MaxChainLevel + 1 {
		t.Run(fmt.Sprint(level), func(t *testing.T) {
			e := newChainEncoder(t, level)
			var stream []byte
			for at := 0; at < n; at += cut {
				piece := plain[at:min(at+cut, n)]
				want := e.Encode(nil, piece, plain[:at])
				for range 2 { // whatever the pooled encoder did before
					got := e.Encode([]byte("head"), piece, plain[:at])
					if !bytes.Equal(got[4:], want) {
						t.Fatalf("piece at %d: other bytes the second time", at)
					}
				}
				stream = append(stream, want...)
			}
			got, _, err := scan(stream, n, nil)
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("the stream: wrong bytes or %v", err)
			}
		})
	}
	for _, level := range []int{-1, MaxChainLevel + 1} {
		if _, err := NewChainEncoder(level); err == nil {
			t.Errorf("level %d was accepted", level)
		}
	}
}
