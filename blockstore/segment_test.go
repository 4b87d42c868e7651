package blockstore_test

import (
	"bytes"
	"testing"

	"github.com/imsfs/imsfs/blockstore"
)

func TestNamesOfZeros(t *testing.T) {
	if id := blockstore.IDOf(make([]byte, blockstore.BlockSize)); id != blockstore.ZeroID {
		t.Errorf("the ID of a block of zeros is %s, ZeroID %s", id, blockstore.ZeroID)
	}
	zeros := make(blockstore.Segment, blockstore.SegmentBlocks)
	for i := range zeros {
		zeros[i].State = blockstore.Zero
	}
	if id := zeros.ID(); id != blockstore.ZeroSegmentID {
		t.Errorf("the ID of a segment of zeros is %s, ZeroSegmentID %s", id, blockstore.ZeroSegmentID)
	}
}

func TestIsZero(t *testing.T) {
	for _, n := range []int{0, 1, 2, 7, 8, 9, 4096, 65536} {
		p := make([]byte, n)
		if !blockstore.IsZero(p) {
			t.Errorf("%d zeros are not zero", n)
		}
		for _, i := range []int{0, 1, n / 2, n - 2, n - 1} {
			if i < 0 || i >= n {
				continue
			}
			p[i] = 1
			if blockstore.IsZero(p) {
				t.Errorf("%d bytes with a 1 at %d are zero", n, i)
			}
			p[i] = 0
		}
	}
}

// sample is a segment in which entry i has state i+shift mod 3.
func sample(n, shift int) blockstore.Segment {
	s := make(blockstore.Segment, n)
	for i := range s {
		if s[i].State = blockstore.State((i + shift) % 3); s[i].State == blockstore.Data {
			s[i].ID[0], s[i].ID[31] = byte(i), 1
		}
	}
	return s
}

func FuzzParseSegment(f *testing.F) {
	for _, n := range []int{1, 3, 4, 5, 255, 256} {
		for shift := range 3 {
			f.Add(sample(n, shift).AppendTo(nil))
		}
	}
	f.Add([]byte{1, 0, 1, 0, 3})
	f.Add([]byte{1, 0, 1, 0, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := blockstore.ParseSegment(b)
		if err != nil {
			return
		}
		if again := s.AppendTo(nil); !bytes.Equal(again, b) {
			t.Errorf("%x is read as a segment whose encoding is %x", b, again)
		}
	})
}

func TestSegmentEncoding(t *testing.T) {
	for _, n := range []int{1, 3, 4, 5, 255, 256} {
		s := sample(n, n)
		b := s.AppendTo(nil)
		got, err := blockstore.ParseSegment(b)
		if err != nil || len(got) != n || len(b) > blockstore.MaxSegment {
			t.Fatalf("%d entries: %d read from %d bytes, %v", n, len(got), len(b), err)
		}
		for i := range s {
			if got[i] != s[i] {
				t.Errorf("entry %d of %d: %v, want %v", i, n, got[i], s[i])
			}
		}
		for cut := range b {
			if _, err := blockstore.ParseSegment(b[:cut]); err == nil {
				t.Errorf("%d entries cut to %d of %d bytes are read", n, cut, len(b))
			}
		}
		if _, err := blockstore.ParseSegment(append(b, 0)); err == nil {
			t.Errorf("%d entries and a byte are read", n)
		}
	}
}
