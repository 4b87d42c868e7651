package convert

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/imsfs/imsfs/formats"
)

// Compare returns the offset of the first byte in which the disks differ, or -1. The shorter disk
// continues as zeros. Parts for which neither has data are not read.
func Compare(ctx context.Context, a, b formats.Image, cfg Config) (int64, error) {
	size := max(a.Info().Size, b.Info().Size)
	unit := unitSize(minUnit, a, b)
	data := spans(ctx, eitherExtent(a, b), size, unit)
	meter, err := newMeter(cfg.Progress, data)
	if err != nil {
		return 0, err
	}
	first := &lowest{off: -1}
	candidates := func(yield func(span, error) bool) {
		for s, err := range data {
			// Spans before a difference are with the workers by then, and one of them may hold an
			// earlier one.
			if first.get() >= 0 || !yield(s, err) {
				return
			}
		}
	}
	err = parallel(ctx, cfg.workers(), candidates, func() func(context.Context, span) error {
		p, q := make([]byte, unit), make([]byte, unit)
		return func(ctx context.Context, s span) error {
			if err := compareSpan(ctx, a, b, s, p[:s.n], q[:s.n], first); err != nil {
				return err
			}
			meter.add(s.data)
			return nil
		}
	})
	if err != nil {
		return 0, err
	}
	return first.get(), nil
}

// eitherExtent is data where one of the images has data.
func eitherExtent(a, b formats.Image) extentFunc {
	return func(ctx context.Context, off, n int64) (formats.Extent, error) {
		ea, err := extentOrZero(ctx, a, off, n)
		if err != nil {
			return formats.Extent{}, err
		}
		eb, err := extentOrZero(ctx, b, off, n)
		if err != nil {
			return formats.Extent{}, err
		}
		e := formats.Extent{Off: off, Len: min(ea.Len, eb.Len), State: formats.Zero}
		if ea.State == formats.Data || eb.State == formats.Data {
			e.State = formats.Data
		}
		return e, nil
	}
}

// extentOrZero returns zeros after the disk's end.
func extentOrZero(ctx context.Context, img formats.Image, off, n int64) (formats.Extent, error) {
	left := img.Info().Size - off
	if left <= 0 {
		return formats.Extent{Off: off, Len: n, State: formats.Zero}, nil
	}
	return img.Extent(ctx, off, min(n, left))
}

func compareSpan(ctx context.Context, a, b formats.Image, s span, p, q []byte, first *lowest) error {
	if err := readOrZero(ctx, a, p, s.off); err != nil {
		return fmt.Errorf("reading the first disk at %d: %w", s.off, err)
	}
	if err := readOrZero(ctx, b, q, s.off); err != nil {
		return fmt.Errorf("reading the second disk at %d: %w", s.off, err)
	}
	if i := mismatch(p, q); i >= 0 {
		first.put(s.off + int64(i))
	}
	return nil
}

func readOrZero(ctx context.Context, img formats.Image, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n := min(max(img.Info().Size-off, 0), int64(len(p)))
	clear(p[n:])
	return img.ReadAt(ctx, p[:n], min(off, img.Info().Size))
}

// mismatch is the index of the first byte in which p and q, which are of one length, differ, or -1.
func mismatch(p, q []byte) int {
	const step = 4096 // first in steps, as comparing many bytes at once is far faster
	for i := 0; i < len(p); i += step {
		end := min(i+step, len(p))
		if bytes.Equal(p[i:end], q[i:end]) {
			continue
		}
		for p[i] == q[i] {
			i++
		}
		return i
	}
	return -1
}

// lowest keeps the lowest offset it was given; -1 is none.
type lowest struct {
	mu  sync.Mutex
	off int64
}

func (l *lowest) put(off int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.off < 0 || off < l.off {
		l.off = off
	}
}

func (l *lowest) get() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.off
}
