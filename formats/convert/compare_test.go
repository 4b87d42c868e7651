package convert_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/convert"
)

// firstDifference is the model: the shortest prefixes that differ, the shorter disk going on with zeros.
func firstDifference(a, b []byte) int64 {
	a, b = slices.Clone(a), slices.Clone(b)
	n := max(len(a), len(b))
	a, b = append(a, make([]byte, n-len(a))...), append(b, make([]byte, n-len(b))...)
	length := sort.Search(n+1, func(length int) bool { return !bytes.Equal(a[:length], b[:length]) })
	if length > n {
		return -1
	}
	return int64(length) - 1
}

func TestCompareFindsTheFirstDifference(t *testing.T) {
	for seed := range seeds() {
		rng := rand.New(rand.NewPCG(seed, 3))
		a := newFakeImage(rng, 512*(1+rng.Int64N(6*mib/512)), 64<<10, "")
		b := relaidOut(rng, a)
		for range rng.IntN(4) {
			off := rng.Int64N(b.info.Size)
			b.bytes[off] ^= byte(1 + rng.IntN(255))
			b.where[off/grain] = formats.Data
		}
		want := firstDifference(a.bytes, b.bytes)
		cfg := convert.Config{Workers: 1 + rng.IntN(5)}
		for range 2 { // either way round
			got, err := convert.Compare(t.Context(), a, b, cfg)
			if err != nil || got != want {
				t.Fatalf("seed %d: Compare of %d and %d bytes = %d, %v, want %d", seed, a.info.Size, b.info.Size, got, err, want)
			}
			a, b = b, a
		}
	}
}

// relaidOut is the same disk with other extents, perhaps longer, perhaps cut.
func relaidOut(rng *rand.Rand, a *fakeImage) *fakeImage {
	size := max(512, a.info.Size+512*(rng.Int64N(8192)-4096)*rng.Int64N(2))
	b := newFakeImage(rng, size, 2*mib, "zstd")
	clear(b.bytes)
	copy(b.bytes, a.bytes)
	for off := int64(0); off < size; off += grain {
		if !allZero(b.bytes[off:min(off+grain, size)]) {
			b.where[off/grain] = formats.Data
		}
	}
	return b
}

func TestCompareReadsNothingThatIsEmptyOnBothSides(t *testing.T) {
	const size = 1 << 60
	a := &emptyDisk{size: size, data: []int64{5 * mib}}
	b := &emptyDisk{size: size / 2, data: []int64{5 * mib}}
	var last int64
	got, err := convert.Compare(t.Context(), a, b, convert.Config{Progress: func(done, total int64) {
		if last = done; total != grain {
			t.Errorf("total = %d, want %d", total, grain)
		}
	}})
	if err != nil || got != -1 {
		t.Fatalf("Compare = %d, %v, want -1", got, err)
	}
	if calls := a.calls.Load() + b.calls.Load(); calls > 24 {
		t.Errorf("%d calls for one grain of data", calls)
	}
	if last != grain {
		t.Errorf("progress ended at %d, want %d", last, grain)
	}
}

func TestCompareFails(t *testing.T) {
	good, bad := fullImage(8*mib), fullImage(8*mib)
	bad.onRead = func(_ context.Context, off int64) error {
		if off == 3*mib {
			return errPlanned
		}
		return nil
	}
	for i, pair := range [][2]formats.Image{{bad, good}, {good, bad}} {
		_, err := convert.Compare(t.Context(), pair[0], pair[1], convert.Config{Workers: 2})
		want := fmt.Sprintf("%s disk at %d", []string{"first", "second"}[i], 3*mib)
		if !errors.Is(err, errPlanned) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want the planned one with %q", err, want)
		}
	}
}

func TestCompareStopsSoonAfterADifference(t *testing.T) {
	a, b := fullImage(64*mib), fullImage(64*mib)
	b.bytes[4*mib+17]++
	b.bytes[60*mib]++
	got, err := convert.Compare(t.Context(), a, b, convert.Config{Workers: 1})
	if err != nil || got != 4*mib+17 {
		t.Fatalf("Compare = %d, %v, want %d", got, err, 4*mib+17)
	}
	if reads := a.reads.Load(); reads > 6 {
		t.Errorf("%d units were read for a difference in the fifth", reads)
	}
}
