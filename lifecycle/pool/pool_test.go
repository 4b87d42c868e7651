package pool

import (
	"errors"
	iofs "io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/raw"
	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/lazyload/source"
	"github.com/imsfs/imsfs/lazyload/source/file"
	"github.com/imsfs/imsfs/lifecycle/catalog"
)

// newSource makes a raw file that is not kept in a store. It returns what opens it, and its base.
func newSource(t *testing.T) (source.Opener, catalog.Base) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	sources := source.Opener{Kinds: []source.Kind{file.Kind{}}}
	id, err := sources.Identify(t.Context(), source.Location{Scheme: source.File, Path: path})
	if err != nil {
		t.Fatal(err)
	}
	base := catalog.Base{
		ID: 1, Source: catalog.Source{Path: path, Identity: id}, Disk: catalog.Disk{Size: id.Size}, Keeping: catalog.Keeping{Load: catalog.None},
	}
	return sources, base
}

// A disk without handles gives its source back, so that the file system with it can be unmounted.
func TestIdleDiskIsClosedAfterAWhile(t *testing.T) {
	sources, base := newSource(t)
	synctest.Test(t, func(t *testing.T) {
		loader := lazyload.New(lazyload.Config{Workers: -1})
		p := New(Config{Formats: formats.Set{Fallback: raw.Driver{}}, Sources: sources, Loader: loader, Go: func(work func()) bool { return false }})
		s := p.Acquire(1)
		opens := 0
		use := func() {
			h, err := p.handle(t.Context(), s, func() (*disk, error) {
				opens++
				return p.open(t.Context(), base, false)
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 { // within its time it is shared
			use()
			<-time.After(maxIdleTime / 2)
		}
		if opens != 1 {
			t.Errorf("opened %d times, want once", opens)
		}
		<-time.After(maxIdleTime + time.Second)
		synctest.Wait()
		if s.disk != nil {
			t.Error("the disk is still open")
		}
		use()
		if opens != 2 {
			t.Errorf("opened %d times, want once more", opens)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := loader.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestDiskDeletedWhileItIsOpened: the blocks of a disk go with its last user, so an opening that was
// under way then is refused and leaves nothing.
func TestDiskDeletedWhileItIsOpened(t *testing.T) {
	sources, base := newSource(t)
	loader := lazyload.New(lazyload.Config{Workers: -1})
	p := New(Config{
		Formats: formats.Set{Fallback: raw.Driver{}}, Sources: sources, Loader: loader, Log: slog.New(slog.DiscardHandler),
		Go: func(func()) bool { return false },
	})
	s := p.Acquire(1)
	_, err := p.handle(t.Context(), s, func() (*disk, error) {
		d, err := p.open(t.Context(), base, false)
		p.Release(s)
		return d, err
	})
	if !errors.Is(err, iofs.ErrClosed) {
		t.Errorf("handle = %v, want it closed", err)
	}
	if s.disk != nil {
		t.Error("the disk is in its slot")
	}
	if err := errors.Join(p.Close(), loader.Close()); err != nil {
		t.Error(err)
	}
}
