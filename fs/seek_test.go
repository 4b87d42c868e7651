package fs

import (
	"context"
	"errors"
	"os"
	"os/exec"
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

// slowExtents is a disk on which a look for extents lasts until it is let go or its ctx is over.
type slowExtents struct {
	tree.OpenDisk
	slow
	ended chan error
}

func (d slowExtents) Allocated() int64                            { return 0 }
func (d slowExtents) Open(context.Context) (tree.OpenDisk, error) { return d, nil }

func (d slowExtents) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	d.begun <- struct{}{}
	select {
	case <-d.finish:
	case <-ctx.Done():
	}
	d.ended <- ctx.Err()
	return formats.Extent{Off: off, Len: n, State: formats.Data}, ctx.Err()
}

func mountSlowExtents(t *testing.T) (slowExtents, string) {
	t.Helper()
	d := slowExtents{sized(1 << 20), newSlow(), make(chan error, 1)}
	at := mount(t, Config{}, nodes{"disk": constant("disk", d), "other": emptyText("other")})
	return d, at
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
	d, at := mountSlowExtents(t)
	f := open(t, filepath.Join(at, "disk"), os.O_RDONLY)
	for range 100 {
		err := d.interrupted(t, filepath.Join(at, "other"), func() error {
			_, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_DATA)
			return err
		})
		if err != nil {
			t.Fatalf("seek: %v", err)
		}
		<-d.ended
	}
}

// A process that is being killed waits for the answer to its system call. The search must not go on
// for a caller that will never see it, whichever signals came before.
func TestKilledCallerEndsASeek(t *testing.T) {
	d, at := mountSlowExtents(t)
	for _, before := range []unix.Signal{0, unix.SIGUSR1} {
		cmd := exec.Command("python3", "-c", `
import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *a: None)
fd = os.open(sys.argv[1], os.O_RDONLY)
os.lseek(fd, 0, os.SEEK_DATA)`, filepath.Join(at, "disk"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-d.begun
		if before != 0 {
			if err := cmd.Process.Signal(before); err != nil {
				t.Fatal(err)
			}
			if err := unix.Stat(filepath.Join(at, "other"), &unix.Stat_t{}); err != nil {
				t.Error(err)
			}
		}
		select {
		case err := <-d.ended:
			t.Fatalf("the search ended before its caller: %v", err)
		default:
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := <-d.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the search ended with %v", err)
		}
		if err := cmd.Wait(); err == nil {
			t.Error("the caller was not killed")
		}
	}
}
