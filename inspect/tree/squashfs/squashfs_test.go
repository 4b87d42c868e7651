package squashfs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/inspect/tree/squashfs"
	"github.com/imsfs/imsfs/inspect/tree/treetest"
)

func driver() *squashfs.Driver { return squashfs.New(codec.NewZstd()) }

// image makes a file system of a directory.
func image(t testing.TB, dir, options string) string {
	t.Helper()
	img := filepath.Join(t.TempDir(), "image")
	treetest.Command(t, "mksquashfs", "squashfs-tools", append([]string{dir, img, "-noappend", "-quiet", "-no-progress"},
		strings.Fields(options)...)...)
	return img
}

// traits: times are 32 bits of seconds. ACLs are not recorded.
func traits() treetest.Traits {
	has := treetest.Unix()
	has.TimeStep, has.Oldest, has.Newest = 1e9, 0, 1<<32-1
	has.Holes = false // mksquashfs reads them as zeros
	return has
}

func recorded(r *treetest.Record) {
	r.Mtime.Nsec = 0
	for name := range r.Xattrs {
		if strings.HasPrefix(name, "system.") {
			delete(r.Xattrs, name)
		}
	}
}

func TestSuite(t *testing.T) {
	dir := t.TempDir()
	treetest.Fill(t, dir, traits())
	for _, options := range []string{"-comp gzip", "-comp lzo -b 65536", "-comp xz -b 1M", "-comp lz4 -Xhc", "-comp zstd -always-use-fragments",
		"-noI -noD -noF -noX -b 4096", "-comp gzip -no-fragments -b 16384"} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			treetest.Run(t, treetest.Case{Driver: driver(), Image: image(t, dir, options), Judge: dir, Has: traits(), Adjust: recorded})
		})
	}
}

// TestKernel: the kernel's mount shows the same, link counts included.
func TestKernel(t *testing.T) {
	dir := t.TempDir()
	treetest.Fill(t, dir, traits())
	img := image(t, dir, "-comp gzip")
	judge := treetest.Mount(t, img, "squashfs", "")
	tr, _ := treetest.Case{Driver: driver(), Image: img}.Open(t)
	got, err := treetest.Records(t.Context(), tr, traits())
	if err != nil {
		t.Fatal(err)
	}
	links := map[string]uint32{}
	for _, r := range treetest.HostRecords(t, judge, traits()) {
		links[r.Path] = r.Links
	}
	for _, r := range got {
		if links[r.Path] != r.Links {
			t.Errorf("%q has %d links, in the kernel %d", r.Path, r.Links, links[r.Path])
		}
	}
	if len(got) != len(links) {
		t.Errorf("%d files, in the kernel %d", len(got), len(links))
	}
}

// small is an image whose metadata is not compressed, so that damage reaches the parser.
func small(t testing.TB, options string) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 100 {
		if err := os.WriteFile(fmt.Sprintf("%s/file %d", dir, i), formattest.Prose(i*i*5), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("file 1", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(dir+"/file 1", "user.a", []byte("value"), 0); err != nil {
		t.Fatal(err)
	}
	return image(t, dir, options)
}

// TestLZMA: a compressor that is not read is refused by name.
func TestLZMA(t *testing.T) {
	img := small(t, "-comp gzip")
	f := formattest.OpenFile(t, img)
	edited := &treetest.Edited{Source: f, Edits: []treetest.Edit{{Off: 20, Value: 2}}}
	if err := treetest.Try(t.Context(), driver(), edited); err != nil {
		t.Error(err)
	}
}

func TestMutate(t *testing.T) {
	treetest.Mutate(t, driver(), small(t, "-noI -noX -noF"), 300)
	treetest.Mutate(t, driver(), small(t, "-comp gzip"), 50)
	treetest.Mutate(t, driver(), small(t, "-comp xz"), 20)
}

func FuzzSquashfs(f *testing.F) { treetest.Fuzz(f, driver(), small(f, "-noI -noX -noF")) }
