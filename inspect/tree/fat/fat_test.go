package fat_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/inspect/tree"
	"github.com/imsfs/imsfs/inspect/tree/fat"
	"github.com/imsfs/imsfs/inspect/tree/treetest"
)

// image makes a file system with the files of dir. mtools writes local time, which is UTC here.
func image(t testing.TB, dir string, size int64, options ...string) string {
	t.Helper()
	img := treetest.Image(t, size)
	treetest.Command(t, "mkfs.fat", "dosfstools", append(options, "-i", "1234abcd", "-n", "LABEL", img)...)
	entries, err := filepath.Glob(dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(formattest.Tool(t, "mcopy", "mtools"), append([]string{"-spm", "-i", img}, append(entries, "::")...)...)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return img
}

// recorded changes a file into what FAT records by mtools, which cuts characters to 16 bits and
// writes no long name if the short one has similar letters.
func recorded(r *treetest.Record) {
	r.Mtime = tree.At(r.Mtime.Sec&^1, 0)
	r.Path = strings.NewReplacer("emoji 🙂", "emoji \uf642", "u\u0308mlaut", "umlaut", "ümlaut", "Ümlaut").Replace(r.Path)
}

func TestSuite(t *testing.T) {
	dir := t.TempDir()
	treetest.Fill(t, dir, treetest.Windows())
	for _, test := range []struct {
		size    int64
		options []string
	}{
		{64 << 20, []string{"-F", "12", "-s", "64"}},
		{64 << 20, []string{"-F", "16", "-s", "4"}},
		{64 << 20, []string{"-F", "32", "-s", "1"}},
		{300 << 20, []string{"-F", "32", "-s", "8", "-f", "1"}},
		{512 << 20, []string{"-F", "32", "-S", "4096", "-s", "1"}},
	} {
		t.Run(fmt.Sprint(test.options), func(t *testing.T) {
			t.Parallel()
			img := image(t, dir, test.size, test.options...)
			treetest.Run(t, treetest.Case{Driver: fat.Driver{}, Image: img, Judge: dir, Has: treetest.Windows(), Adjust: recorded})
		})
	}
}

// small is an image with one file in a directory, for damage.
func small(t testing.TB, bits string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/EFI/Boot/a long name of a directory", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Bootx64.efi", "a long name of a file", "second.txt"} {
		if err := os.WriteFile(dir+"/EFI/Boot/"+name, formattest.Prose(70000), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	size := map[string]int64{"12": 2 << 20, "16": 8 << 20, "32": 40 << 20}[bits]
	return image(t, dir, size, "-F", bits, "-s", "1")
}

func TestInfo(t *testing.T) {
	for _, bits := range []string{"12", "16", "32"} {
		tr, _ := treetest.Case{Driver: fat.Driver{}, Image: small(t, bits)}.Open(t)
		info := tr.Info()
		if info.Type != "vfat" || info.Label != "LABEL" || info.UUID != "1234-ABCD" || info.State != tree.Clean || len(info.Notes) > 0 {
			t.Errorf("FAT%s: %+v", bits, info)
		}
	}
}

func TestLookupIgnoresCase(t *testing.T) {
	tr, _ := treetest.Case{Driver: fat.Driver{}, Image: small(t, "32")}.Open(t)
	for _, path := range []string{"EFI/BOOT/BOOTX64.EFI", "efi/boot/bootx64.efi", "efi/boot/A LONG name of a file", "efi/boot/ALONGN~2"} {
		if _, err := tree.Resolve(t.Context(), tr, tr.Root(), []byte(path), true); err != nil {
			t.Error(err)
		}
	}
}

// TestMarksOfAChain: a file in many clusters is read from its end to its beginning.
func TestMarksOfAChain(t *testing.T) {
	dir := t.TempDir()
	content := formattest.Prose(6<<20 + 77)
	if err := os.WriteFile(dir+"/large", content, 0o644); err != nil {
		t.Fatal(err)
	}
	tr, _ := treetest.Case{Driver: fat.Driver{}, Image: image(t, dir, 40<<20, "-F", "32", "-s", "1")}.Open(t)
	id, err := tree.Resolve(t.Context(), tr, tr.Root(), []byte("large"), false)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 5001)
	for off := len(content) - len(p); off > 0; off -= 70001 {
		if _, err := tr.ReadAt(t.Context(), id, p, int64(off)); err != nil || !bytes.Equal(p, content[off:off+len(p)]) {
			t.Fatalf("at %d: %v, or other bytes", off, err)
		}
	}
}

// TestDiskTooShort: the files on the disk are shown, and the end is missing with an error.
func TestDiskTooShort(t *testing.T) {
	img := small(t, "32")
	if err := os.Truncate(img, 760<<10); err != nil {
		t.Fatal(err)
	}
	tr, d := treetest.Case{Driver: fat.Driver{}, Image: img}.Open(t)
	if tr.Info().State != tree.Damaged || len(tr.Info().Notes) == 0 {
		t.Errorf("%+v", tr.Info())
	}
	if err := treetest.Try(t.Context(), fat.Driver{}, d); err != nil {
		t.Error(err)
	}
}

func TestMutate(t *testing.T) {
	for _, bits := range []string{"12", "16", "32"} {
		t.Run("FAT"+bits, func(t *testing.T) { treetest.Mutate(t, fat.Driver{}, small(t, bits), 100) })
	}
}

func FuzzFAT(f *testing.F) { treetest.Fuzz(f, fat.Driver{}, small(f, "16")) }
