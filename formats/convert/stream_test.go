package convert_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats/convert"
)

func TestStreamWritesAllBytesInOrder(t *testing.T) {
	for seed := range seeds() {
		rng := rand.New(rand.NewPCG(seed, 11))
		size := 512 * (1 + rng.Int64N(12*mib/512))
		img := newFakeImage(rng, size, int64(4096)<<rng.IntN(10), []string{"", "zstd"}[rng.IntN(2)])
		var out bytes.Buffer
		var done, total int64
		cfg := convert.Config{Workers: 1 + rng.IntN(8), Progress: func(d, n int64) { done, total = d, n }}
		if err := convert.Stream(t.Context(), img, &out, cfg); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !bytes.Equal(out.Bytes(), img.bytes) {
			t.Fatalf("seed %d: %d bytes came out of a disk of %d, or others", seed, out.Len(), size)
		}
		if done != total {
			t.Errorf("seed %d: progress ended at %d of %d", seed, done, total)
		}
	}
}

// brokenPipe takes so many bytes and no more.
type brokenPipe struct{ room int }

func (b *brokenPipe) Write(p []byte) (int, error) {
	if b.room -= len(p); b.room < 0 {
		return 0, errPlanned
	}
	return len(p), nil
}

func TestStreamFails(t *testing.T) {
	img := fullImage(16 * mib)
	for _, room := range []int{0, 5 * mib} {
		err := convert.Stream(t.Context(), img, &brokenPipe{room}, convert.Config{Workers: 3})
		if want := fmt.Sprintf("bytes at %d", room); !errors.Is(err, errPlanned) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want the planned one with %q", err, want)
		}
	}
	img.onRead = func(_ context.Context, off int64) error {
		if off == 3*mib {
			return errPlanned
		}
		return nil
	}
	err := convert.Stream(t.Context(), img, &brokenPipe{1 << 30}, convert.Config{Workers: 3})
	if want := fmt.Sprintf("disk at %d", 3*mib); !errors.Is(err, errPlanned) || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want the planned one with %q", err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := convert.Stream(ctx, &emptyDisk{size: 1 << 60}, &brokenPipe{1 << 30}, convert.Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v of a stream that was given up", err)
	}
}
