package file

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/lazyload/source"
)

// pair makes a directory with a file and one beside it with another, and opens the first.
func pair(t *testing.T) (d *Dir, in, out string) {
	t.Helper()
	top := t.TempDir()
	in, out = filepath.Join(top, "in"), filepath.Join(top, "out")
	if err := errors.Join(os.MkdirAll(filepath.Join(in, "sub"), 0o700), os.Mkdir(out, 0o700)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(in, "file"), []byte("inside"))
	write(t, filepath.Join(out, "file"), []byte("outside"))
	d, err := OpenDir(in)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, in, out
}

func TestDirOpensRegularFilesBeneath(t *testing.T) {
	d, in, out := pair(t)
	for link, target := range map[string]string{"to-file": "file", "to-out": out + "/file", "to-out-relative": "../out/file"} {
		if err := os.Symlink(target, filepath.Join(in, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(in, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "to-file", "sub/../file"} {
		f, err := d.Open(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if f.Size() != 6 || f.Identity().Tag.Get(source.Inode) == "" {
			t.Errorf("%s: %d bytes, %+v", name, f.Size(), f.Identity())
		}
		f.Close()
	}
	for _, name := range []string{"fifo", "sub", "."} {
		if _, err := d.Open(name); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s: %v, want ErrNotRegular", name, err)
		}
	}
	for _, name := range []string{"missing", "to-out", "to-out-relative", "../out/file", out + "/file", "sub/../../out/file", ""} {
		if f, err := d.Open(name); err == nil {
			f.Close()
			t.Errorf("%s was opened", name)
		}
	}
	sub, err := d.OpenDir("sub")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if _, err := sub.Open("../file"); err == nil {
		t.Error("a file above the directory was opened")
	}
	if _, err := OpenDir(filepath.Join(in, "file")); err == nil {
		t.Error("a file was opened as a directory")
	}
}

func TestBeneath(t *testing.T) {
	d, in, _ := pair(t)
	alias := filepath.Join(t.TempDir(), "alias")
	if err := os.Symlink(in, alias); err != nil {
		t.Fatal(err)
	}
	a, err := OpenDir(alias)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for _, c := range []struct {
		dir        *Dir
		path, name string
		ok         bool
	}{
		{d, in + "/file", "file", true},
		{d, in + "/a/b", "a/b", true},
		{d, in, ".", true},
		{d, in + "er/file", "", false},
		{d, filepath.Dir(in), "", false},
		{d, "/", "", false},
		{d, alias + "/file", "", false},
		{a, alias + "/file", "file", true},
		{a, in + "/file", "file", true},
	} {
		if name, ok := c.dir.Beneath(c.path); name != c.name || ok != c.ok {
			t.Errorf("Beneath(%s) = %q, %v, want %q, %v", c.path, name, ok, c.name, c.ok)
		}
	}
}

func TestDirLinks(t *testing.T) {
	d, in, out := pair(t)
	if err := os.Symlink(out, filepath.Join(in, "sub", "link")); err != nil {
		t.Fatal(err)
	}
	if target, ok, err := d.Link("sub/link"); target != out || !ok || err != nil {
		t.Errorf("Link = %q, %v, %v", target, ok, err)
	}
	for _, name := range []string{"file", "sub", "."} {
		if target, ok, err := d.Link(name); ok || err != nil {
			t.Errorf("Link(%s) = %q, %v, %v", name, target, ok, err)
		}
	}
	if _, _, err := d.Link("missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Link(missing): %v", err)
	}
}

// A name that leads in and out by turns is never opened while it leads out.
func TestDirAgainstALinkThatMoves(t *testing.T) {
	d, in, out := pair(t)
	link := filepath.Join(in, "link")
	done := make(chan struct{})
	stopped := make(chan error, 1)
	go func() {
		stopped <- func() error {
			for n := 0; ; n++ {
				select {
				case <-done:
					return nil
				default:
				}
				target := []string{"sub/../file", out + "/file", "../out/file"}[n%3]
				if err := errors.Join(os.Symlink(target, link+".new"), os.Rename(link+".new", link)); err != nil {
					return err
				}
			}
		}()
	}()
	opened := 0
	for range 3000 {
		f, err := d.Open("link")
		if err != nil {
			continue
		}
		opened++
		p := make([]byte, 6)
		if err := f.ReadAt(t.Context(), p, 0); err != nil || string(p) != "inside" {
			t.Errorf("%q was read (%v)", p, err)
		}
		f.Close()
	}
	close(done)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if opened == 0 {
		t.Log("it never led in when it was opened")
	}
}
