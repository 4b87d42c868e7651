package btrfs

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/inspect/tree"
	"github.com/imsfs/imsfs/inspect/tree/treetest"
)

func driver() *Driver { return New(codec.NewZstd()) }

// image makes a file system that fill has written.
func image(t testing.TB, size int64, mkfs, mount string, fill func(dir string)) string {
	t.Helper()
	img := treetest.Image(t, size)
	treetest.Command(t, "mkfs.btrfs", "btrfs-progs", append(strings.Fields(mkfs), "-q", img)...)
	treetest.Write(t, img, "btrfs", mount, func(dir string) {
		fill(dir)
		// A mount that another namespace still has is not written by the unmount.
		treetest.Command(t, "sync", "coreutils", "-f", dir)
	})
	return img
}

func TestSuite(t *testing.T) {
	has := treetest.Unix()
	has.Kernel = true
	for _, test := range []struct{ mkfs, mount string }{
		{"", ""},
		{"-n 4096 -m single --csum xxhash", "compress-force=zlib"},
		{"-n 65536 -m dup --csum sha256 -L label", "compress-force=lzo"},
		{"-O ^no-holes --csum blake2", "compress-force=zstd:5"},
		{"-M -n 4096", "max_inline=0"},
	} {
		t.Run(test.mkfs+" "+test.mount, func(t *testing.T) {
			t.Parallel()
			img := image(t, 256<<20, test.mkfs, test.mount, func(dir string) { treetest.Fill(t, dir, has) })
			treetest.Run(t, treetest.Case{Driver: driver(), Image: img, Judge: treetest.Mount(t, img, "btrfs", ""), Has: has})
		})
	}
}

// TestSubvolumes: the default one is the root, a snapshot has no nested subvolume, paths are whole.
func TestSubvolumes(t *testing.T) {
	btrfs := func(args ...string) { treetest.Command(t, "btrfs", "btrfs-progs", args...) }
	img := image(t, 256<<20, "", "", func(dir string) {
		btrfs("subvolume", "create", dir+"/@")
		if err := os.MkdirAll(dir+"/@/deep/down", 0o755); err != nil {
			t.Fatal(err)
		}
		btrfs("subvolume", "create", dir+"/@/deep/down/nested")
		for _, path := range []string{"/top", "/@/file", "/@/deep/down/nested/inside"} {
			if err := os.WriteFile(dir+path, []byte(path), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		btrfs("subvolume", "snapshot", "-r", dir+"/@", dir+"/snapshot")
		btrfs("subvolume", "set-default", dir+"/@")
	})
	tr, _ := treetest.Case{Driver: driver(), Image: img}.Open(t)
	list, err := tr.(tree.Subvolumer).Subvolumes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, s := range list {
		paths = append(paths, fmt.Sprintf("%s %v", s.Path, s.ReadOnly))
	}
	if want := []string{" false", "@ false", "@/deep/down/nested false", "snapshot true"}; !slices.Equal(paths, want) {
		t.Errorf("%q, want %q", paths, want)
	}
	if list[3].ParentUUID != list[1].UUID || list[1].UUID == "" || tr.Root() != list[1].Root {
		t.Errorf("%+v, root %d", list, tr.Root())
	}
	has := treetest.Unix()
	for i, options := range []string{"subvol=/", "subvol=/@", "subvol=/@/deep/down/nested", "subvol=/snapshot"} {
		want := treetest.HostRecords(t, treetest.Mount(t, img, "btrfs", options), has)
		top := list[i].Root
		var got []string
		err := tree.Walk(t.Context(), tr, top, func(f tree.File, err error) error {
			got = append(got, fmt.Sprintf("%q %o %d", f.Path, f.Attr.Mode, f.Attr.Size))
			return err
		})
		if err != nil {
			t.Error(err)
		}
		var lines []string
		for _, r := range want {
			lines = append(lines, fmt.Sprintf("%q %o %d", r.Path, r.Mode, r.Size))
		}
		slices.Sort(got)
		slices.Sort(lines)
		if diff := treetest.Diff(got, lines); diff != "" {
			t.Errorf("%s:\n%s", options, diff)
		}
	}
}

// TestSuperCopies: a damaged first superblock is replaced by a copy.
func TestSuperCopies(t *testing.T) {
	img := small(t)
	f, err := os.OpenFile(img, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("damage"), superPlaces[0]+300); err != nil {
		t.Fatal(err)
	}
	tr, _ := treetest.Case{Driver: driver(), Image: img}.Open(t)
	if info := tr.Info(); info.State != tree.Damaged || len(info.Notes) != 1 {
		t.Errorf("%+v", info)
	}
	if _, err := tree.Resolve(t.Context(), tr, tr.Root(), []byte("text"), true); err != nil {
		t.Error(err)
	}
}

// TestLogTree: a file system that was in use says that it has a log tree.
func TestLogTree(t *testing.T) {
	var crash string
	image(t, 128<<20, "", "", func(dir string) {
		treetest.Command(t, "sync", "coreutils", "-f", dir)
		f, err := os.Create(dir + "/synced")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString("data"); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		crash = treetest.Copy(t, loopFile(t, dir))
	})
	tr, _ := treetest.Case{Driver: driver(), Image: crash}.Open(t)
	if info := tr.Info(); info.State != tree.Dirty || len(info.Notes) != 1 {
		t.Errorf("%+v", info)
	}
}

// loopFile returns the image that is mounted at dir.
func loopFile(t *testing.T, dir string) string {
	t.Helper()
	device := strings.TrimSpace(treetest.Command(t, "findmnt", "util-linux", "-no", "SOURCE", dir))
	return strings.TrimSpace(treetest.Command(t, "losetup", "mount", "-nO", "BACK-FILE", device))
}

// small is an image with a file of each kind of extent.
func small(t testing.TB) string {
	t.Helper()
	return image(t, 128<<20, "-m single -n 4096", "compress-force=lzo", func(dir string) {
		for name, data := range map[string]string{"text": strings.Repeat("text ", 30000), "inline": "inline", "a": "b"} {
			if err := os.WriteFile(dir+"/"+name, []byte(data), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 200 {
			if err := os.WriteFile(fmt.Sprintf("%s/file %d", dir, i), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		treetest.Command(t, "btrfs", "btrfs-progs", "subvolume", "create", dir+"/sub")
	})
}

// TestMutate damages images with and without checksums in its way.
func TestMutate(t *testing.T) {
	img := small(t)
	treetest.Mutate(t, driver(), img, 30)
	d := driver()
	d.unchecked = true
	treetest.Mutate(t, d, img, 300)
}

func FuzzBtrfs(f *testing.F) {
	d := driver()
	d.unchecked = true
	treetest.Fuzz(f, d, small(f))
}
