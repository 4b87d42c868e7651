package lifecycle

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/raw"
	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/lazyload/source"
)

// A disk that nobody has open any more gives its source back, so that the file system with it can be unmounted.
func TestIdleDiskIsClosedAfterAWhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	sources := files()
	id, err := sources.Identify(t.Context(), source.Location{Scheme: source.File, Path: path})
	if err != nil {
		t.Fatal(err)
	}
	rec := record{Source: path, Identity: id, Size: id.Size, Load: None}
	synctest.Test(t, func(t *testing.T) {
		loader := lazyload.New(lazyload.Config{Workers: -1})
		p := newPool(formats.Set{Fallback: raw.Driver{}}, sources, loader, nil)
		s := p.rest(1)
		opens := 0
		use := func() {
			h, err := p.handle(t.Context(), s, func() (*disk, error) {
				opens++
				return p.open(t.Context(), rec)
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
		if err := p.close(); err != nil {
			t.Error(err)
		}
		if err := loader.Close(); err != nil {
			t.Error(err)
		}
	})
}
