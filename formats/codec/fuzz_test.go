package codec

import (
	"bytes"
	"testing"
)

// FuzzDecode feeds every codec hostile input. Whatever comes, a decoder must not panic, write behind the buffer,
// answer the same input in two ways, or be worse for it afterwards.
func FuzzDecode(f *testing.F) {
	vs := variants()
	plain := text(3000)
	for i, v := range vs {
		f.Add(byte(i), uint16(len(plain)), v.encode(f, plain))
		f.Add(byte(i), uint16(100), v.encode(f, plain))
	}
	good := make([][]byte, len(vs))
	for i, v := range vs {
		good[i] = v.encode(f, plain)
	}
	f.Fuzz(func(t *testing.T, which byte, n uint16, src []byte) {
		i := int(which) % len(vs)
		dec := vs[i].dec
		first, second := make([]byte, int(n)+8), make([]byte, int(n)+8)
		err1 := dec.Decode(first[:n], src)
		err2 := dec.Decode(second[:n], src)
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("the same input gave %v and then %v", err1, err2)
		}
		if err1 == nil && !bytes.Equal(first, second) {
			t.Fatal("the same input gave two results")
		}
		if !bytes.Equal(first[n:], make([]byte, 8)) {
			t.Fatal("bytes after the buffer were written")
		}
		out := make([]byte, len(plain))
		if err := dec.Decode(out, good[i]); err != nil || !bytes.Equal(out, plain) {
			t.Fatalf("after hostile input the decoder fails on good input: %v", err)
		}
	})
}

// FuzzScan scans hostile data. What is decoded from the start must come from each place on the way as well.
func FuzzScan(f *testing.F) {
	_, first, second := twoPieces(f, 200_000)
	f.Add(uint32(100_000), first)
	f.Add(uint32(100_000), second)
	f.Add(uint32(50_000), first[:len(first)/2])
	f.Add(uint32(0), []byte{0, 0, 0, 0xff, 0xff})
	window, d := text(DeflateWindow), NewPlaceDecoder()
	f.Fuzz(func(t *testing.T, n uint32, src []byte) {
		plain, places, err := scan(src, int(n%200_000), window)
		if err != nil {
			return
		}
		for _, p := range places {
			dst := make([]byte, len(plain)-int(p.Plain))
			if err := d.Decode(dst, p.Plain, src[p.Bit/8:], p); err != nil || !bytes.Equal(dst, plain[p.Plain:]) {
				t.Errorf("from bit %d: wrong bytes or %v", p.Bit, err)
			}
		}
	})
}
