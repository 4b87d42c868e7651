package codec

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zlib"
	"github.com/ulikunitz/xz"
)

// upTo are the decoders of data whose length is not recorded, and data that each decodes to plain.
func upTo(t testing.TB) (plain []byte, cases map[string]upToCase) {
	t.Helper()
	plain = bytes.Repeat([]byte("abcabcabd, "), 300)
	var deflated, xzed bytes.Buffer
	w := zlib.NewWriter(&deflated)
	x, err := xz.NewWriter(&xzed)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []interface {
		Write([]byte) (int, error)
		Close() error
	}{w, x} {
		if _, err := w.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	enc, err := NewZstdEncoder(3, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	return plain, map[string]upToCase{
		"zlib": {NewZlib().DecodeUpTo, deflated.Bytes()},
		"zstd": {NewZstd().DecodeUpTo, enc.Encode(nil, plain)},
		"xz":   {XZ{}.DecodeUpTo, xzed.Bytes()},
		// 11 literals, then a match of 3289 bytes, 11 before: its length is 19+12×255+210.
		"lz4": {LZ4{}.DecodeUpTo, append(append([]byte("\xbfabcabcabd, \x0b\x00"),
			bytes.Repeat([]byte{255}, 12)...), 205, 0x50, 'a', 'b', 'd', ',', ' ')},
		// The same in LZO: a token of 28 literals that begins the data, a match by 0x20, the end.
		"lzo": {LZO{}.DecodeUpTo, append(append([]byte("\x1cabcabcabd, \x20"), bytes.Repeat([]byte{0}, 12)...),
			196, 10<<2, 0, 0x11, 0, 0)},
	}
}

type upToCase struct {
	decode func(dst, src []byte) (int, error)
	packed []byte
}

func TestDecodeUpTo(t *testing.T) {
	plain, cases := upTo(t)
	for name, c := range cases {
		room := make([]byte, len(plain)+100)
		n, err := c.decode(room, c.packed)
		if err != nil || !bytes.Equal(room[:n], plain) {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		if n, err := c.decode(room[:len(plain)], c.packed); n != len(plain) || err != nil {
			t.Errorf("%s, no room left over: %d, %v", name, n, err)
		}
		if n, err := c.decode(room[:len(plain)-1], c.packed); err == nil {
			t.Errorf("%s, too little room: %d bytes and no error", name, n)
		}
		for cut := range c.packed {
			if n, err := c.decode(room, c.packed[:cut]); err == nil && n == len(plain) && name != "xz" {
				t.Errorf("%s: %d of %d bytes decode to all", name, cut, len(c.packed))
			}
		}
	}
}

func TestDecodePrefix(t *testing.T) {
	plain, cases := upTo(t)
	var raw bytes.Buffer
	w, err := flate.NewWriter(&raw, 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for n := range plain {
		got := make([]byte, n)
		if err := (LZ4{}).DecodePrefix(got, cases["lz4"].packed); err != nil || !bytes.Equal(got, plain[:n]) {
			t.Fatalf("lz4: %d bytes: %v", n, err)
		}
		if err := NewDeflate().DecodePrefix(got, raw.Bytes()); err != nil || !bytes.Equal(got, plain[:n]) {
			t.Fatalf("deflate: %d bytes: %v", n, err)
		}
	}
	if err := (LZ4{}).DecodePrefix(make([]byte, len(plain)+1), cases["lz4"].packed); err == nil {
		t.Error("lz4: more bytes than there are")
	}
}

// TestXZDictionary: a dictionary of 4 GiB is refused before it is allocated.
func TestXZDictionary(t *testing.T) {
	_, cases := upTo(t)
	packed := bytes.Clone(cases["xz"].packed)
	packed[16] = 40
	if _, err := (XZ{}).DecodeUpTo(make([]byte, 10), packed); err != errXZ {
		t.Errorf("%v, header %s", err, hex.EncodeToString(packed[:24]))
	}
}

func FuzzUpTo(f *testing.F) {
	_, cases := upTo(f)
	for _, name := range []string{"zlib", "zstd", "xz", "lz4", "lzo"} {
		f.Add(name, cases[name].packed)
	}
	f.Fuzz(func(t *testing.T, name string, packed []byte) {
		c, ok := cases[name]
		if !ok {
			return
		}
		room := bytes.Repeat([]byte{0xA5}, 8192)
		if n, err := c.decode(room[:8000], packed); err == nil && n > 8000 {
			t.Errorf("%s: %d bytes", name, n)
		}
		if !bytes.Equal(room[8000:], bytes.Repeat([]byte{0xA5}, 192)) {
			t.Errorf("%s: bytes past the room are written", name)
		}
	})
}

// TestUpToDamaged: no damage makes a decoder panic.
func TestUpToDamaged(t *testing.T) {
	plain, cases := upTo(t)
	r := rand.New(rand.NewPCG(1, 1))
	for name, c := range cases {
		for range 3000 {
			packed := bytes.Clone(c.packed)
			for range 1 + r.IntN(4) {
				packed[r.IntN(len(packed))] = byte(r.Uint32())
			}
			if n, err := c.decode(make([]byte, len(plain)), packed); err == nil && n > len(plain) {
				t.Errorf("%s: %d bytes", name, n)
			}
		}
	}
}
