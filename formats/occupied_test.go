package formats_test

import (
	"context"
	"errors"
	"testing"

	"github.com/imsfs/imsfs/formats"
)

// striped is a disk of pieces of one size that are data and unallocated by turns, and says nothing of that in its Info.
type striped struct {
	size, piece, share int64 // one of share pieces is data
	asked              int
	fail               error
	cancel             func()
}

func (s *striped) Info() formats.Info { return formats.Info{Size: s.size, Allocated: formats.Unknown} }

func (s *striped) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	if s.asked++; s.fail != nil {
		return formats.Extent{}, s.fail
	}
	if s.cancel != nil && s.asked == 1000 {
		s.cancel()
		return formats.Extent{}, ctx.Err()
	}
	e := formats.Extent{Off: off, Len: min(n, s.piece-off%s.piece)}
	if off/s.piece%s.share == 0 {
		e.State = formats.Data
	}
	return e, nil
}

func (*striped) ReadAt(context.Context, []byte, int64) error { return errors.ErrUnsupported }

func TestOccupied(t *testing.T) {
	const tib = 1 << 40
	for _, c := range []struct {
		name        string
		img         striped
		least, most int64
	}{
		{"counted", striped{size: 1 << 30, piece: 64 << 10, share: 2}, 1 << 29, 1 << 29},
		{"empty", striped{size: 1 << 30, piece: 1 << 30, share: 1 << 30}, 1 << 30, 1 << 30}, // its one piece is data
		{"full and huge", striped{size: 1 << 60, piece: 1 << 30, share: 1}, 1 << 60, 1 << 60},
		{"half of much", striped{size: 64 * tib, piece: 64 << 10, share: 2}, 31 * tib, 33 * tib},
		{"little of much", striped{size: 1 << 59, piece: 512, share: 1 << 40}, 512, 1 << 44},
		{"nearly all of much", striped{size: 1 << 59, piece: 32 << 20, share: 1}, 1 << 59, 1 << 59},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := formats.Occupied(t.Context(), &c.img)
			if err != nil || got < c.least || got > c.most {
				t.Errorf("%d, %v, want %d to %d", got, err, c.least, c.most)
			}
			if c.img.asked > 70_000 {
				t.Errorf("%d extents were asked for", c.img.asked)
			}
		})
	}
	t.Run("an error is told", func(t *testing.T) {
		broken := errors.New("broken")
		if _, err := formats.Occupied(t.Context(), &striped{size: 1 << 30, piece: 512, share: 2, fail: broken}); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	})
	t.Run("what was seen when the time is over counts", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		got, err := formats.Occupied(ctx, &striped{size: 1 << 30, piece: 512, share: 4, cancel: cancel})
		if want := int64(1 << 28); err != nil || got < want*9/10 || got > want*11/10 {
			t.Errorf("%d, %v, want about %d", got, err, want)
		}
	})
}
