package xfs_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
	"github.com/imsfs/imsfs/inspect/tree/treetest"
	"github.com/imsfs/imsfs/inspect/tree/xfs"
)

const size = 320 << 20 // mkfs.xfs makes nothing smaller than 300 MiB

// TestSameAsKernel compares file systems of several block sizes with the kernel's mounts of them.
func TestSameAsKernel(t *testing.T) {
	for name, args := range map[string][]string{
		"Default":   {"-q"},
		"Block1":    {"-q", "-b", "size=1024"},
		"LargeDirs": {"-q", "-n", "size=16384"},
	} {
		t.Run(name, func(t *testing.T) {
			image := treetest.Image(t, size)
			treetest.Command(t, "mkfs.xfs", "xfsprogs", append(args, image)...)
			has := treetest.Unix()
			has.Kernel = true
			has.XattrRoom, has.MaxTarget = 60000, 1023 // values and links in blocks of their own
			treetest.Write(t, image, "xfs", "", func(dir string) { treetest.Fill(t, dir, has) })
			judge := treetest.Mount(t, image, "xfs", "norecovery")
			treetest.Run(t, treetest.Case{Driver: xfs.Driver{}, Image: image, Judge: judge, Has: has})
		})
	}
}

// TestVersion4 reads a file system that many kernels do not mount any more. mkfs fills it.
func TestVersion4(t *testing.T) {
	data := bytes.Repeat([]byte("version four\n"), 1000)
	from := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(from, data, 0o600); err != nil {
		t.Fatal(err)
	}
	list := "/\n0 0\nd--755 0 0\nfile ---644 7 8 " + from + "\nlink l--777 0 0 file\ndir d--755 0 0\n"
	for i := range 700 {
		list += fmt.Sprintf("entry%d p--600 0 0\n", i)
	}
	proto := filepath.Join(t.TempDir(), "proto")
	if err := os.WriteFile(proto, []byte(list+"$\n$\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	image := treetest.Image(t, size)
	treetest.Command(t, "mkfs.xfs", "xfsprogs", "-q", "-m", "crc=0", "-p", proto, image)
	tr, err := xfs.Driver{}.Open(t.Context(), disk.New(formattest.OpenFile(t, image)), tree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	resolve := func(path string) tree.ID {
		t.Helper()
		id, err := tree.Resolve(t.Context(), tr, tr.Root(), []byte(path), true)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	for i := range 700 {
		resolve(fmt.Sprintf("dir/entry%d", i))
	}
	got := make([]byte, len(data))
	a, err := tr.Stat(t.Context(), resolve("link"))
	if err != nil || a.Size != int64(len(data)) || a.UID != 7 || a.GID != 8 {
		t.Errorf("%+v, %v", a, err)
	}
	if n, err := tr.ReadAt(t.Context(), a.ID, got, 0); n != len(data) || err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v, other data", n, err)
	}
}

// TestLogStates tells a file system that was unmounted from one that is in use.
func TestLogStates(t *testing.T) {
	image := treetest.Image(t, size)
	treetest.Command(t, "mkfs.xfs", "xfsprogs", "-q", image)
	check := func(path string, want tree.State) {
		t.Helper()
		tr, err := xfs.Driver{}.Open(t.Context(), disk.New(formattest.OpenFile(t, path)), tree.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := tr.Info(); got.State != want || (want == tree.Dirty) != (len(got.Notes) > 0) {
			t.Errorf("%s: %+v, want %s", path, got, want)
		}
	}
	check(image, tree.Clean)
	treetest.Write(t, image, "xfs", "", func(dir string) {
		file, err := os.Create(dir + "/new")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if err := file.Sync(); err != nil {
			t.Fatal(err)
		}
		check(treetest.Copy(t, image), tree.Dirty)
	})
	check(image, tree.Clean)
}

// TestMutants reads damaged images.
func TestMutants(t *testing.T) { treetest.Mutate(t, xfs.Driver{}, small(t), 100) }

// FuzzOpen reads damaged images.
func FuzzOpen(f *testing.F) { treetest.Fuzz(f, xfs.Driver{}, small(f)) }

func small(t testing.TB) string {
	t.Helper()
	image := treetest.Image(t, size)
	treetest.Command(t, "mkfs.xfs", "xfsprogs", "-q", image)
	has := treetest.Unix()
	has.Many = 500
	treetest.Write(t, image, "xfs", "", func(dir string) { treetest.Fill(t, dir, has) })
	return image
}
