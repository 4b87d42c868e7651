package index

import (
	"context"
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/imsfs/imsfs/formats"
)

// image has an index of three pieces, the second of zeros.
type image struct {
	formats.Image
	fail error
	uses []byte
}

var pieces = [][]byte{[]byte("front"), make([]byte, 70_000), []byte("end"), make([]byte, 9)}

func (i *image) IndexSize() int64 { return 70_017 }
func (i *image) UsesIndex() bool  { return i.uses != nil }

func (i *image) BuildIndex(_ context.Context, write func(p []byte) error) error {
	for _, p := range pieces {
		if err := write(p); err != nil {
			return err
		}
	}
	return i.fail
}

func (i *image) UseIndex(ctx context.Context, src formats.Source) error {
	b := make([]byte, src.Size())
	if err := src.ReadAt(ctx, b, 0); err != nil {
		return err
	}
	if src.Size() != i.IndexSize() || string(b[:5]) != "front" || string(b[70_005:70_008]) != "end" {
		return formats.Corrupt("test", 0, "%d bytes are no index", src.Size())
	}
	i.uses = b
	return nil
}

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestMakeAndUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "indexes")
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Use(t.Context(), 7, &image{}); !errors.Is(err, iofs.ErrNotExist) || d.Has(7) {
		t.Errorf("before it is made: %v, %v", err, d.Has(7))
	}
	full := errors.New("full")
	if err := d.Make(t.Context(), 7, &image{fail: full}); !errors.Is(err, full) || len(names(t, path)) != 0 {
		t.Errorf("a pass that fails: %v, and %v are left", err, names(t, path))
	}
	if err := d.Make(t.Context(), 7, &image{}); err != nil {
		t.Fatal(err)
	}
	if d, err = Open(path); err != nil {
		t.Fatal(err)
	}
	img := &image{}
	f, err := d.Use(t.Context(), 7, img)
	if err != nil || !img.UsesIndex() || !d.Has(7) {
		t.Fatalf("used: %v, %v", img.UsesIndex(), err)
	}
	if err := errors.Join(d.Remove(7), d.Remove(7), f.Close()); err != nil || d.Has(7) {
		t.Errorf("removed: %v, %v", d.Has(7), err)
	}
}

func TestWhatDoesNotFitIsDropped(t *testing.T) {
	path := t.TempDir()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "7.index"), []byte("front"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Use(t.Context(), 7, &image{}); !errors.Is(err, formats.ErrCorrupt) || len(names(t, path)) != 0 {
		t.Errorf("%v, and %v are left", err, names(t, path))
	}
}

func TestSweep(t *testing.T) {
	path := t.TempDir()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"7.index", "8.index", "7.index.new", "07.index", "x", "-1.index"} {
		if err := os.WriteFile(filepath.Join(path, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Sweep(func(image uint64) bool { return image == 7 }); err != nil {
		t.Fatal(err)
	}
	if got := names(t, path); len(got) != 1 || got[0] != "7.index" {
		t.Errorf("left: %v", got)
	}
}
