package xfs_test

import (
	"os"
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
			treetest.Write(t, image, "xfs", "", func(dir string) { treetest.Fill(t, dir, has) })
			judge := treetest.Mount(t, image, "xfs", "norecovery")
			treetest.Run(t, treetest.Case{Driver: xfs.Driver{}, Image: image, Judge: judge, Has: has})
		})
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
