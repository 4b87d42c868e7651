package rawmap

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
)

// file is a source in memory.
type file []byte

func (f file) Size() int64 { return int64(len(f)) }
func (f file) ReadAt(_ context.Context, p []byte, off int64) error {
	if off < 0 || off > int64(len(f)-len(p)) {
		return io.ErrUnexpectedEOF
	}
	copy(p, f[off:])
	return nil
}

// made is a map of a file of size bytes with data in the given blocks.
func made(t testing.TB, size int64, data ...int64) *Map {
	t.Helper()
	m, err := New(size, 1_700_000_000_123_456_789)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range data {
		m.Set(block)
	}
	return m
}

// signed is what a map's file would be with these bytes in front of the digest.
func signed(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(bytes.Clone(b), sum[:]...)
}

func TestMapSurvivesItsFile(t *testing.T) {
	for _, size := range []int64{1, BlockSize, 8*BlockSize + 1, 17 * BlockSize, 1 << 40} {
		m := made(t, size, 0, blocks(size)-1)
		b := m.Bytes()
		again, err := Parse(t.Context(), file(b))
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if !bytes.Equal(again.Bytes(), b) || again.Fits(size, 1_700_000_000_123_456_789) != nil {
			t.Errorf("%d bytes: another map came back", size)
		}
		if err := again.Fits(size+1, 1_700_000_000_123_456_789); !errors.Is(err, ErrStale) {
			t.Errorf("another size: %v", err)
		}
		if err := again.Fits(size, 1_700_000_000_123_456_788); !errors.Is(err, ErrStale) {
			t.Errorf("another time: %v", err)
		}
	}
	if n := len(made(t, 1<<40).Bytes()); n != 64<<10+64 {
		t.Errorf("the map of a TiB has %d bytes", n)
	}
}

// TestLayout is docs/formats/rawmap.md in bytes.
func TestLayout(t *testing.T) {
	want := []byte("IMSFSMAP\x01\x00\x00\x00\x00\x00\x20\x00")
	want = binary.LittleEndian.AppendUint64(want, 9*BlockSize+5)
	want = binary.LittleEndian.AppendUint64(want, 1_700_000_000_123_456_789)
	want = append(want, 0b10000010, 0b10)
	if got := made(t, 9*BlockSize+5, 1, 7, 9).Bytes(); !bytes.Equal(got, signed(want)) {
		t.Errorf("%x, want %x", got, signed(want))
	}
}

// TestHoleAgainstAModel: runs are maximal, end with the request, and say what each block's bit says.
func TestHoleAgainstAModel(t *testing.T) {
	for seed := range uint64(20) {
		chance := rand.New(rand.NewPCG(seed, 1))
		size := 1 + chance.Int64N(100*BlockSize)
		m := made(t, size)
		for block := int64(0); block < blocks(size); block++ {
			if chance.IntN(20) < int(seed) {
				m.Set(block)
			}
		}
		for range 500 {
			off := chance.Int64N(size)
			n := 1 + chance.Int64N(size-off)
			hole, length := m.Hole(off, n)
			want := off
			for want < off+n && m.data(want/BlockSize) != hole {
				want = min((want/BlockSize+1)*BlockSize, off+n)
			}
			if length != want-off {
				t.Fatalf("seed %d: Hole(%d, %d) = %v, %d, want %d", seed, off, n, hole, length, want-off)
			}
		}
		var data int64
		for off := int64(0); off < size; {
			hole, n := m.Hole(off, size-off)
			if !hole {
				data += n
			}
			off += n
		}
		if data != m.Data() {
			t.Errorf("seed %d: Data() = %d, the runs have %d", seed, m.Data(), data)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := made(t, 3*BlockSize, 1).Bytes()
	body := good[:len(good)-sha256.Size]
	changed := func(off int, to ...byte) []byte {
		b := bytes.Clone(body)
		copy(b[off:], to)
		return signed(b)
	}
	flipped := bytes.Clone(good)
	flipped[headerSize] ^= 1
	for name, c := range map[string]struct {
		b    []byte
		says string
	}{
		"empty":             {nil, "too few"},
		"short":             {good[:40], "too few"},
		"cut":               {good[:len(good)-1], "97 bytes"},
		"longer":            {append(bytes.Clone(good), 0), "bytes: the map of a file"},
		"magic":             {changed(0, 'X'), "does not begin"},
		"version":           {changed(8, 2), "version 2"},
		"block size":        {changed(12, 1), "blocks of"},
		"no size":           {changed(16, 0, 0, 0, 0, 0, 0, 0, 0), "a file of 0 bytes"},
		"negative size":     {changed(16, 0, 0, 0, 0, 0, 0, 0, 0x80), "a file of -"},
		"huge size":         {changed(16, 0, 0, 0, 0, 0, 0, 0, 0x7f), "a map is of 1 to"},
		"size of other map": {changed(16, 0, 0, 0, 1, 0, 0, 0, 1), "a map is of 1 to"},
		"spare bits":        {changed(headerSize, 0b1010), "after the last of 3 blocks"},
		"flipped bit":       {flipped, "SHA-256"},
	} {
		if name == "cut" {
			c.says = "bytes"
		}
		_, err := Parse(t.Context(), file(c.b))
		if !errors.Is(err, formats.ErrCorrupt) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	for _, size := range []int64{0, -1, MaxSize + 1} {
		if _, err := New(size, 0); err == nil {
			t.Errorf("a map of a file of %d bytes was made", size)
		}
	}
}

// FuzzParse: a map that is taken is the one that was written, and its runs tile the disk. Every input is tried with a digest
// that fits, too, as chance makes none.
func FuzzParse(f *testing.F) {
	for _, size := range []int64{1, BlockSize, 9*BlockSize + 5, 64 * BlockSize} {
		f.Add(made(f, size, 0, blocks(size)-1).Bytes())
	}
	f.Add([]byte(magic))
	f.Add(bytes.Repeat([]byte{0xff}, 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		inputs := [][]byte{b}
		if len(b) > sha256.Size {
			inputs = append(inputs, signed(b[:len(b)-sha256.Size]))
		}
		for _, b := range inputs {
			m, err := Parse(t.Context(), file(b))
			if err != nil {
				if !errors.Is(err, formats.ErrCorrupt) {
					t.Errorf("%v", err)
				}
				continue
			}
			if !bytes.Equal(m.Bytes(), b) {
				t.Error("the map was read as another")
			}
			for off := int64(0); off < m.size; {
				_, n := m.Hole(off, m.size-off)
				if n <= 0 || n > m.size-off {
					t.Fatalf("Hole(%d) is %d bytes long", off, n)
				}
				off += n
			}
		}
	})
}
