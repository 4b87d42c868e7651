package blockstore

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// flatDisk is a disk in memory that knows no holes.
type flatDisk []byte

func (d flatDisk) Size() int64 { return int64(len(d)) }
func (d flatDisk) ReadAt(_ context.Context, p []byte, off int64) error {
	copy(p, d[off:])
	return nil
}
func (d flatDisk) Hole(context.Context, int64, int64) (int64, error) { return 0, nil }

// TestSumIsTheDigest adds the parts in any order and leaves out zeros.
func TestSumIsTheDigest(t *testing.T) {
	const unit = 1 << 20
	for _, size := range []int64{512, BlockSize, 3*unit + 512, SegmentSize, 2*SegmentSize + 5*BlockSize + 512} {
		disk := make(flatDisk, size)
		for off := int64(0); off < size; off += 3 * unit {
			disk[off] = byte(off/unit) + 1
		}
		want, err := DigestPlain(t.Context(), disk, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewSum(size)
		if err != nil {
			t.Fatal(err)
		}
		var parts []int64
		for off := int64(0); off < size; off += unit {
			if part := disk[off:min(off+unit, size)]; !IsZero(part) {
				parts = append(parts, off)
			}
		}
		rand.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		for _, off := range parts {
			if err := s.Add(off, slices.Clone(disk[off:min(off+unit, size)])); err != nil {
				t.Error(err)
			}
		}
		if got := s.Digest(); got != want {
			t.Errorf("a disk of %d bytes: %s, want %s", size, got, want)
		}
	}
}

func TestSumOfALargeDisk(t *testing.T) {
	const size = (maxOpen + 50) * SegmentSize
	s, err := NewSum(size)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, BlockSize)
	block[7] = 1
	for off := int64(0); off < size; off += SegmentSize {
		if err := s.Add(off, block); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.open) > maxOpen {
		t.Errorf("%d segments are open", len(s.open))
	}
	if err := s.Add(BlockSize, block); err == nil || !strings.Contains(err.Error(), "too late") {
		t.Errorf("a part of a segment that is closed: %v", err)
	}
	if _, err := NewSum(MaxDiskSize + 1); err == nil {
		t.Error("a disk of more than a digest is of was taken")
	}
}
