package convert_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/convert"
)

func TestNonZeroFindsEveryBlockWithData(t *testing.T) {
	const block = 2 << 20
	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 2))
		img := newFakeImage(rng, 20*block+512*rng.Int64N(4000), 64<<10, "")
		last := len(img.bytes) - 1
		img.bytes[last], img.where[last/grain] = 1, formats.Data
		var want, got []int64
		i := int64(0)
		for b := range slices.Chunk(img.bytes, block) {
			if bytes.ContainsFunc(b, func(r rune) bool { return r != 0 }) {
				want = append(want, i)
			}
			i++
		}
		var done, total int64
		progress := func(n, of int64) { done, total = n, of }
		err := convert.NonZero(t.Context(), img, block, convert.Config{Progress: progress}, func(b int64) { got = append(got, b) })
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("seed %d: blocks %v, %v, want %v", seed, got, err, want)
		}
		if done != total || total == 0 {
			t.Errorf("seed %d: progress ended at %d of %d", seed, done, total)
		}
	}
}

func TestNonZeroTellsWhereReadingFailed(t *testing.T) {
	img := newFakeImage(rand.New(rand.NewPCG(1, 2)), 8<<20, 64<<10, "")
	for i := range img.where {
		img.where[i] = formats.Data
	}
	img.onRead = func(_ context.Context, off int64) error {
		if off >= 4<<20 {
			return errors.New("it is broken")
		}
		return nil
	}
	err := convert.NonZero(t.Context(), img, 2<<20, convert.Config{}, func(int64) {})
	if err == nil || !strings.Contains(err.Error(), "reading the disk at ") || !strings.Contains(err.Error(), "it is broken") {
		t.Errorf("NonZero = %v", err)
	}
}
