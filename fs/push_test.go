package fs

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/tree"
)

// watched is a DiskFile that counts the reads which reach it, and tells when it was closed: then what was to be pushed
// has been.
type watched struct {
	diskOf
	views  *atomic.Int64
	closed chan struct{}
}

func (w watched) Open(context.Context) (tree.OpenDisk, error) { return w, nil }

func (w watched) Close() error {
	w.closed <- struct{}{}
	return nil
}

func (w watched) View(ctx context.Context, scratch []byte, off int64) (*lazyload.View, error) {
	w.views.Add(1)
	return w.Disk.View(ctx, scratch, off)
}

// What a read made the disk decode is in the page cache for the neighbours, unless the reader goes past that.
func TestNeighboursAreInThePageCache(t *testing.T) {
	for _, c := range []struct {
		name   string
		flags  int
		cached bool
	}{
		{"buffered", 0, true},
		{"direct", unix.O_DIRECT, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			const size, at = 16 << 20, 8 << 20
			img := &island{size: size}
			l := lazyload.New(lazyload.Config{})
			w := watched{diskOf{l.Open(img)}, new(atomic.Int64), make(chan struct{})}
			t.Cleanup(func() {
				w.Disk.Close()
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
			path := filepath.Join(mount(t, Config{}, nodes{"disk": constant("disk", w)}), "disk")
			read := func(flags, n int) {
				t.Helper()
				f := open(t, path, os.O_RDONLY|flags)
				p := aligned(n)
				if _, err := f.ReadAt(p, at); err != nil {
					t.Fatal(err)
				}
				if err := img.check(p, at); err != nil {
					t.Error(err)
				}
				f.Close()
				<-w.closed
			}
			read(c.flags, 4096)
			before := w.views.Load()
			read(0, islandCluster)
			if cached := w.views.Load() == before; cached != c.cached {
				t.Errorf("the cluster's other pages are cached: %v, want %v", cached, c.cached)
			}
		})
	}
}

// The kernel may release a handle while the server is still between its answer to a read and the giving back of its view.
func TestReleaseWaitsForViews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 16 << 20
		l := lazyload.New(lazyload.Config{})
		d := l.Open(&island{size: size})
		closed := make(chan struct{}, 1)
		h := newDiskHandle(&disk{}, watched{diskOf{d}, new(atomic.Int64), closed})
		var held []*reply
		for range 2 { // the second view has nothing to push
			res, no := h.Read(t.Context(), make([]byte, 4096), size/2)
			if no != 0 {
				t.Fatal(no)
			}
			held = append(held, res.(*reply))
		}
		go h.Release(t.Context())
		for _, r := range held {
			synctest.Wait()
			if len(closed) != 0 {
				t.Error("the disk was closed under a view")
			}
			r.giveBack()
		}
		<-closed
		d.Close()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}
