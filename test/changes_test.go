package test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// openDisk opens an image's disk until the end of the test.
func (p place) openDisk(t *testing.T, image string) *os.File {
	t.Helper()
	f, err := os.Open(p.disk(image))
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// TestOpenDiskOutlivesItsImage: an open disk can be read after its image was renamed or deleted.
func TestOpenDiskOutlivesItsImage(t *testing.T) {
	eachFormat(t, 12*mib, func(t *testing.T, d *daemon, m model) {
		open := d.openDisk(t, "disk")
		head := make([]byte, 100*kib)
		if _, err := open.Read(head); err != nil {
			t.Fatal(err)
		}
		d.run(t, "disk", "rename other")
		if _, err := os.Stat(d.disk("disk")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the old name: %v", err)
		}
		m.same(t, d.disk("other"))
		d.run(t, "other", "delete")
		if left := d.images(t); len(left) != 0 {
			t.Errorf("images %q are left", left)
		}
		if _, err := open.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		m.sameFile(t, open, "the open disk")
	})
}

// TestNameGivenAgain: a new image of a deleted one's name reads as itself, although the kernel has
// cached the old one's bytes.
func TestNameGivenAgain(t *testing.T) {
	eachFormat(t, 6*mib, func(t *testing.T, d *daemon, old model) {
		old.same(t, d.disk("disk"))
		still := d.openDisk(t, "disk")
		d.run(t, "disk", "delete")
		fresh := makeModel(t, d.file("fresh.raw"), old.size, 99)
		d.register(t, "disk", fresh.path)
		fresh.same(t, d.disk("disk"))
		old.sameFile(t, still, "the old disk, still open,")
	})
}

// spoil are the ways to change a registered source, with words of the error.
var spoil = map[string]struct {
	how   func(path string) error
	words []string
}{
	"overwritten": {func(path string) error {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(bytes.Repeat([]byte{0xee}, 64*kib), 100*kib)
		return errors.Join(err, f.Close())
	}, []string{"changed", "written to"}},
	"truncated": {func(path string) error { return os.Truncate(path, 8*kib) }, []string{"changed", "truncated", "8192"}},
	"replaced": {func(path string) error {
		copied, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(path+".new", copied, 0o600), os.Rename(path+".new", path))
	}, []string{"changed", "another file"}},
	"deleted": {os.Remove, []string{"no such file"}},
}

// TestSpoiledSource: opening the disk of a changed source is refused, and the status says why.
func TestSpoiledSource(t *testing.T) {
	for name, spoiled := range spoil {
		t.Run(name, func(t *testing.T) {
			eachFormat(t, 5*mib, func(t *testing.T, d *daemon, m model) {
				source := d.status(t, "disk", "source")
				must(t, spoiled.how(source))
				if _, err := os.Open(d.disk("disk")); !errors.Is(err, unix.ESTALE) && !errors.Is(err, unix.ENOENT) {
					t.Errorf("opening the disk: %v, want ESTALE or ENOENT", err)
				}
				wantWords(t, "status", d.status(t, "disk", "error"), append(spoiled.words, source)...)
			})
		})
	}
}

// TestSpoiledSourceOfOpenDisk: a reader of an open disk gets the registered bytes or an error.
func TestSpoiledSourceOfOpenDisk(t *testing.T) {
	for name, spoiled := range spoil {
		t.Run(name, func(t *testing.T) {
			eachFormat(t, 13*mib, func(t *testing.T, d *daemon, m model) {
				open := d.openDisk(t, "disk")
				if _, err := open.ReadAt(make([]byte, 4*kib), 0); err != nil {
					t.Fatal(err)
				}
				must(t, spoiled.how(d.status(t, "disk", "source")))
				refused := readRightOrNot(t, open, m)
				if stands := name == "replaced" || name == "deleted"; stands && refused > 0 {
					t.Errorf("%d reads failed, though the file that is open has not changed", refused)
				} else if !stands {
					if refused == 0 {
						t.Error("no read failed")
					}
					d.log.expect(spoiled.words[1])
				}
			})
		})
	}
}

// readRightOrNot reads a disk backwards and returns how many reads failed. The others must have the
// right bytes, of a new copy of the model, because its file may be the one that was changed.
func readRightOrNot(t *testing.T, disk *os.File, m model) (refused int) {
	t.Helper()
	m = makeModel(t, m.path+".again", m.size, 7)
	got, want := make([]byte, 64*kib), make([]byte, 64*kib)
	for off := m.size - 64*kib; off >= 0; off -= 64 * kib {
		_, err := disk.ReadAt(got, off)
		if err != nil {
			if !errors.Is(err, unix.EIO) {
				t.Errorf("read at %#x: %v, want EIO", off, err)
			}
			refused++
			continue
		}
		m.want(t, want, off)
		if !bytes.Equal(got, want) {
			t.Fatalf("wrong bytes at %#x, without an error", off)
		}
	}
	return refused
}
