package fs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/tree"
)

// stripes is a disk of a given size whose data is in the given ranges.
type stripes struct {
	size  int64
	data  [][2]int64
	calls int
}

func (s *stripes) Size() int64 { return s.size }

func (s *stripes) Extent(_ context.Context, off, n int64) (formats.Extent, error) {
	s.calls++
	for _, d := range s.data {
		if off < d[0] {
			return formats.Extent{Off: off, Len: min(n, d[0]-off), State: formats.Zero}, nil
		}
		if off < d[1] {
			return formats.Extent{Off: off, Len: min(n, d[1]-off), State: formats.Data}, nil
		}
	}
	return formats.Extent{Off: off, Len: n, State: formats.Unallocated}, nil
}

func TestSeekFindsTheNext(t *testing.T) {
	const tib = int64(1) << 40
	s := &stripes{size: 1 << 60, data: [][2]int64{{10, 20}, {3*tib + 512, 5 * tib}, {1<<60 - 512, 1 << 60}}}
	for _, c := range []struct {
		off, data, hole int64
	}{
		{0, 10, 0},
		{10, 10, 20},
		{19, 19, 20},
		{20, 3*tib + 512, 20},
		{4 * tib, 4 * tib, 5 * tib},
		{5 * tib, 1<<60 - 512, 5 * tib},
		{1<<60 - 1, 1<<60 - 1, 1 << 60},
	} {
		for data, want := range map[bool]int64{true: c.data, false: c.hole} {
			s.calls = 0
			if got, err := seek(t.Context(), s, c.off, data); err != nil || got != want {
				t.Errorf("from %d, data %t: %d, %v; want %d", c.off, data, got, err, want)
			}
			if s.calls > 100 {
				t.Errorf("from %d, data %t: %d looks at the disk", c.off, data, s.calls)
			}
		}
	}
}

// endless is a disk of data, or of holes, each look at which takes until the ctx is over or a minute.
type endless struct{ state formats.State }

func (endless) Size() int64 { return 1 << 60 }

func (e endless) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	select {
	case <-ctx.Done():
		return formats.Extent{}, ctx.Err()
	case <-time.After(time.Second):
		return formats.Extent{Off: off, Len: min(n, 512), State: e.state}, nil
	}
}

func TestSeekThatTakesLongIsNeverWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, err := seek(t.Context(), endless{formats.Zero}, 1024, true)
		if err != nil || got <= 1024 || got > 1024+512*int64(longestSearch/time.Second) {
			t.Errorf("in a hole without an end, data begins at %d, %v; want where the search has got to", got, err)
		}
		if got, err := seek(t.Context(), endless{formats.Data}, 1024, false); err != nil || got != 1<<60 {
			t.Errorf("in data without an end, a hole begins at %d, %v; want the disk's end", got, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), longestSearch/2)
		defer cancel()
		if got, err := seek(ctx, endless{formats.Data}, 0, false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a search that was ended: %d, %v", got, err)
		}
	})
}

// slowExtents is a disk on which a look for extents lasts until it is let go.
type slowExtents struct {
	sized
	slow
}

func (d slowExtents) Allocated() int64                            { return 0 }
func (d slowExtents) Open(context.Context) (tree.OpenDisk, error) { return d, nil }

func (d slowExtents) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	return formats.Extent{Off: off, Len: n, State: formats.Data}, d.do(ctx)
}

// sized is an open disk of so many bytes.
type sized int64

func (s sized) Size() int64  { return int64(s) }
func (s sized) Close() error { return nil }

func (s sized) ReadAt(context.Context, []byte, int64) (int, error) { return 0, errors.ErrUnsupported }

func (s sized) Extent(_ context.Context, off, n int64) (formats.Extent, error) {
	return formats.Extent{Off: off, Len: n, State: formats.Zero}, nil
}

func TestSignalsDoNotInterruptSeeks(t *testing.T) {
	d := slowExtents{1 << 20, newSlow()}
	at := mount(t, Config{}, nodes{"disk": constant("disk", d), "other": emptyText("other")})
	f := open(t, filepath.Join(at, "disk"), os.O_RDONLY)
	for range 100 {
		err := d.interrupted(t, filepath.Join(at, "other"), func() error {
			_, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_DATA)
			return err
		})
		if err != nil {
			t.Fatalf("seek: %v", err)
		}
	}
}
