package iso_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/inspect/tree"
	"github.com/imsfs/imsfs/inspect/tree/iso"
	"github.com/imsfs/imsfs/inspect/tree/treetest"
)

func image(t testing.TB, dir, options string) string {
	t.Helper()
	img := filepath.Join(t.TempDir(), "image")
	treetest.Command(t, "genisoimage", "genisoimage", append(strings.Fields(options), "-quiet", "-V", "LABEL", "-o", img, dir)...)
	return img
}

// TestRockRidge: modes, owners, names, links, times, and directories deeper than eight levels.
func TestRockRidge(t *testing.T) {
	has := treetest.Traits{Modes: true, Owners: true, Symlinks: true, TimeStep: 1e9, Oldest: 0, Newest: 1<<31 - 2,
		MaxTarget: 255, Many: 800}
	dir := t.TempDir()
	treetest.Fill(t, dir, has)
	img := image(t, dir, "-R -input-charset utf-8 -output-charset utf-8")
	treetest.Run(t, treetest.Case{Driver: iso.Driver{}, Image: img, Judge: dir, Has: has, Ignore: []string{"rr_moved"},
		Adjust: func(r *treetest.Record) { r.Mtime.Nsec = 0 }})
}

// TestJoliet: names in UTF-16, no modes and no links.
func TestJoliet(t *testing.T) {
	dir := small(t)
	img := image(t, dir, "-J -input-charset utf-8")
	treetest.Run(t, treetest.Case{Driver: iso.Driver{}, Image: img, Judge: dir, Has: treetest.Traits{TimeStep: 1e9}, Ignore: []string{"link"},
		Adjust: func(r *treetest.Record) { r.Mtime.Nsec = 0 }})
}

func small(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, path := range []string{"boot/isolinux.bin", "EFI/BOOT/bootx64.efi", "a name of some length, with spaces", "日本語"} {
		if err := os.MkdirAll(filepath.Dir(dir+"/"+path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/"+path, formattest.Prose(4000), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("boot/isolinux.bin", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestBareNamesAndElTorito(t *testing.T) {
	img := image(t, small(t), "-b boot/isolinux.bin -no-emul-boot -c boot/boot.cat -input-charset utf-8")
	tr, _ := treetest.Case{Driver: iso.Driver{}, Image: img}.Open(t)
	info := tr.Info()
	if info.Label != "LABEL" || len(info.Notes) != 1 || info.Type != "iso9660" || len(info.UUID) != 22 {
		t.Errorf("%+v", info)
	}
	if _, err := tree.Resolve(t.Context(), tr, tr.Root(), []byte("boot/isolinux.bin"), false); err != nil {
		t.Error(err)
	}
}

func TestMutate(t *testing.T) {
	for _, options := range []string{"-R -J -input-charset utf-8", "-J -input-charset utf-8"} {
		treetest.Mutate(t, iso.Driver{}, image(t, small(t), options), 300)
	}
}

func FuzzISO(f *testing.F) {
	treetest.Fuzz(f, iso.Driver{}, image(f, small(f), "-R -J -input-charset utf-8"))
}
