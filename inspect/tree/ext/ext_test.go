package ext_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
	"github.com/imsfs/imsfs/inspect/tree/ext"
	"github.com/imsfs/imsfs/inspect/tree/treetest"
)

const mib = 1 << 20

// TestSameAsKernel compares file systems of many features with the kernel's mounts of them.
func TestSameAsKernel(t *testing.T) {
	for name, c := range map[string]struct {
		kind string
		args []string
		size int64
	}{
		"ext4":       {"ext4", []string{"-b", "4096"}, 64 * mib},
		"ext4Block1": {"ext4", []string{"-b", "1024"}, 64 * mib},
		"ext4Inline": {"ext4", []string{"-b", "4096", "-O", "inline_data", "-I", "256"}, 64 * mib},
		"ext4MetaBG": {"ext4", []string{"-O", "meta_bg,^resize_inode", "-b", "1024"}, 64 * mib},
		"ext4Small":  {"ext4", []string{"-b", "4096", "-O", "^64bit,^metadata_csum,^flex_bg"}, 64 * mib},
		"ext3":       {"ext3", []string{"-b", "4096"}, 64 * mib},
		"ext2":       {"ext2", []string{"-b", "4096"}, 64 * mib},
		"ext2Block1": {"ext2", []string{"-b", "1024"}, 64 * mib},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image := treetest.Image(t, c.size)
			treetest.Command(t, "mkfs."+c.kind, "e2fsprogs", append(append([]string{"-q"}, c.args...), image)...)
			has := treetest.Unix()
			has.Kernel = true
			if strings.Contains(name, "Block1") || strings.Contains(name, "MetaBG") {
				has.XattrRoom, has.MaxTarget = 700, 1000
			}
			kind := "ext4"
			treetest.Write(t, image, kind, "", func(dir string) { treetest.Fill(t, dir, has) })
			treetest.Run(t, treetest.Case{Driver: ext.Driver{}, Image: image, Judge: treetest.Mount(t, image, kind, ""), Has: has})
		})
	}
}

// crashImage copies a file system that is mounted and has changes only in its journal.
func crashImage(t testing.TB, args ...string) string {
	t.Helper()
	image := treetest.Image(t, 64*mib)
	treetest.Command(t, "mkfs.ext4", "e2fsprogs", append(append([]string{"-q"}, args...), image)...)
	var copied string
	treetest.Write(t, image, "ext4", "", func(dir string) {
		for i := range 300 {
			name := filepath.Join(dir, fmt.Sprintf("dir%d", i%7), fmt.Sprintf("file %d", i))
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			f, err := os.Create(name)
			if err == nil {
				_, err = f.WriteString(strings.Repeat(name, i))
			}
			if err == nil && i%10 == 0 {
				err = unix.Fsync(int(f.Fd()))
			}
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			if i%3 == 0 {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
		}
		f, err := os.Open(dir)
		if err == nil {
			err = unix.Fsync(int(f.Fd()))
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		copied = treetest.Copy(t, image)
	})
	return copied
}

func TestReplaySameAsKernel(t *testing.T) {
	for name, args := range map[string][]string{
		"CSum3": nil, "NoCSum": {"-O", "^metadata_csum"}, "Small": {"-O", "^64bit,^metadata_csum"}, "Block1": {"-b", "1024"},
	} {
		t.Run(name, func(t *testing.T) {
			image := crashImage(t, args...)
			replayed, err := ext.Driver{}.Open(t.Context(), disk.New(formattest.OpenFile(t, image)), tree.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if i := replayed.Info(); i.State != tree.Replayed {
				t.Fatalf("%+v", i)
			}
			t.Log(replayed.Info().Notes)
			unreplayed, err := ext.Driver{}.Open(t.Context(), disk.New(formattest.OpenFile(t, image)), tree.Options{NoReplay: true})
			if err != nil || unreplayed.Info().State != tree.Dirty {
				t.Fatalf("%v, %v", unreplayed, err)
			}
			kernels := treetest.Copy(t, image)
			treetest.Write(t, kernels, "ext4", "", func(string) {}) // the kernel replays
			has := treetest.Unix()
			treetest.Run(t, treetest.Case{Driver: ext.Driver{}, Image: image, Judge: treetest.Mount(t, kernels, "ext4", ""), Has: has})
		})
	}
}

func TestMutations(t *testing.T) {
	image := treetest.Image(t, 32*mib)
	src := t.TempDir()
	has := treetest.Unix()
	has.Many, has.XattrRoom = 100, 700
	treetest.Fill(t, src, has)
	treetest.Command(t, "mkfs.ext4", "e2fsprogs", "-q", "-d", src, image)
	treetest.Mutate(t, ext.Driver{}, image, 150)
}

func TestMutatedJournals(t *testing.T) {
	treetest.Mutate(t, ext.Driver{}, crashImage(t), 150)
}

func FuzzExt(f *testing.F) {
	image := treetest.Image(f, 8*mib)
	src := f.TempDir()
	if err := os.WriteFile(src+"/file", []byte("text"), 0o644); err != nil {
		f.Fatal(err)
	}
	treetest.Command(f, "mkfs.ext4", "e2fsprogs", "-q", "-d", src, image)
	treetest.Fuzz(f, ext.Driver{}, image)
}
