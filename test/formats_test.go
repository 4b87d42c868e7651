package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// imageFormat is a format that images come in.
type imageFormat struct {
	name string
	qemu string // what qemu-img calls it; "" if that cannot make it
	// variants are the ways in which qemu-img is told to make it: arguments of its convert.
	variants []string
	// compares says how much qemu-img map tells of it.
	compares mapping
}

// imageFormats are all that the program must know.
var imageFormats = []imageFormat{
	{"qcow2", "qcow2", []string{
		"",
		"-o compat=0.10",
		"-o cluster_size=512",
		"-o cluster_size=2M",
		"-c",
		"-c -o cluster_size=4k",
		"-c -o compression_type=zstd",
		"-o extended_l2=on,cluster_size=128k",
		"-o refcount_bits=1",
	}, mapsAll},
	{"qcow", "qcow", []string{""}, mapsAll}, // compressed: see chains, as qemu-img convert -c fails
	{"qed", "qed", []string{"", "-o cluster_size=4k,table_size=2", "-o cluster_size=1M"}, mapsAll},
	{"vmdk", "vmdk", []string{
		"",
		"-o compat6=on,zeroed_grain=on",
		"-o subformat=monolithicFlat",
		"-o subformat=twoGbMaxExtentSparse",
		"-o subformat=twoGbMaxExtentFlat",
		"-o subformat=streamOptimized",
	}, mapsAll},
	{"vhd", "vpc", []string{"", "-o force_size=on", "-o subformat=fixed"}, mapsBlocks},
	{"vhdx", "vhdx", []string{"", "-o block_size=1M", "-o subformat=fixed"}, mapsNothing},
	{"vdi", "vdi", []string{"", "-o static=on"}, mapsPresence},
	{"raw", "raw", []string{""}, mapsAll},
	{name: "zvhd"},
	{name: "zvhd2"},
	{name: "iso"},
}

// TestEveryFormatIsKnown: there is a driver for each format that images come in.
func TestEveryFormatIsKnown(t *testing.T) {
	for _, f := range imageFormats {
		t.Run(f.name, f.need)
	}
}

// need fails a test of a format that the program does not list.
func (f imageFormat) need(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(do(t, program, "formats")) {
		if name, _, _ := strings.Cut(line, " "); name == f.name {
			return
		}
	}
	t.Fatalf("imsfs formats does not list %s", f.name)
}

// formatShapes are the disks that images are made of: all of them in a format's usual variant, some in the others.
// make writes a raw file.
var formatShapes = []struct {
	name  string
	usual bool // only in the usual variant
	make  func(t *testing.T, path string)
}{
	{"one sector", true, mixed(512)},
	{"odd sectors", false, mixed(5*mib + 3*512)},
	{"empty", true, sparse(7 * mib)},
	{"full", true, func(t *testing.T, path string) {
		do(t, "dd", "if=/dev/urandom", "of="+path, "bs=1M", "count=3", "status=none")
	}},
	{"last cluster", false, sparse(33*mib+512, 33*mib+100)},
}

// TestImagesOfQemuImg: whatever qemu-img makes of a disk, the program reads as qemu-img does: bytes, extents, facts.
func TestImagesOfQemuImg(t *testing.T) {
	for _, format := range imageFormats {
		for _, variant := range format.variants {
			t.Run(strings.TrimSpace(format.name+" "+variant), func(t *testing.T) {
				format.need(t)
				t.Parallel()
				for _, shape := range formatShapes {
					if shape.usual && variant != "" {
						continue
					}
					t.Run(shape.name, func(t *testing.T) {
						dir := t.TempDir()
						disk, image := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "image."+format.name)
						shape.make(t, disk)
						args := slices.Concat([]string{"convert", "-f", "raw", "-O", format.qemu}, strings.Fields(variant), []string{disk, image})
						do(t, "qemu-img", args...)
						format.sameAsQemu(t, image)
						do(t, program, "compare", "-F", "raw", image, disk)
					})
				}
			})
		}
	}
}

// sameAsQemu checks that the program and qemu-img read an image alike, with all that it is based on.
func (f imageFormat) sameAsQemu(t *testing.T, image string, flags ...string) {
	t.Helper()
	ours, theirs := image+".ours", image+".theirs"
	formatArgs := []string{"-f", f.name}
	if f.name != "raw" {
		formatArgs = nil // the content tells it
	}
	do(t, program, slices.Concat([]string{"convert", "-O", "raw"}, formatArgs, flags, []string{image, ours})...)
	do(t, "qemu-img", "convert", "-f", f.qemu, "-O", "raw", image, theirs)
	do(t, "cmp", ours, theirs)
	compareMaps(t, f.compares,
		do(t, program, slices.Concat([]string{"map", "--json"}, formatArgs, flags, []string{image})...),
		do(t, "qemu-img", "map", "-f", f.qemu, "--output=json", image))
	f.sameInfo(t, image)
	if r := imsfs(t, slices.Concat([]string{"check"}, formatArgs, []string{image})...); r.code != 0 && r.code != 63 {
		t.Errorf("check: %+v", r)
	}
}

// sameInfo compares the facts that both tell of an image file.
func (f imageFormat) sameInfo(t *testing.T, image string) {
	t.Helper()
	type facts struct {
		Format      string
		VirtualSize int64  `json:"virtual-size"`
		ActualSize  int64  `json:"actual-size"`
		ClusterSize int64  `json:"cluster-size"`
		Backing     string `json:"backing-filename"`
		FullBacking string `json:"full-backing-filename"`
	}
	var ours, theirs facts
	for text, into := range map[string]*facts{
		do(t, program, "info", "--json", "-f", f.name, image):                 &ours,
		do(t, "qemu-img", "info", "-f", f.qemu, "--output=json", "-U", image): &theirs,
	} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	theirs.Format = f.name
	if theirs.ClusterSize == 0 {
		theirs.ClusterSize = ours.ClusterSize // a format without clusters
	}
	if ours != theirs {
		t.Errorf("info of %s:\n%+v\nqemu-img's:\n%+v", filepath.Base(image), ours, theirs)
	}
}

// TestImagesInTheTree: an image in any format is, registered, the disk that it was made of.
func TestImagesInTheTree(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), 9*mib+512, 5)
	for n, format := range imageFormats {
		if format.qemu == "" || format.name == "raw" {
			continue
		}
		t.Run(format.name, func(t *testing.T) {
			format.need(t)
			image := d.file(format.name)
			do(t, "qemu-img", "convert", "-f", "raw", "-O", format.qemu, m.path, image)
			name := fmt.Sprintf("image%d", n)
			d.register(t, name, image)
			m.same(t, d.disk(name))
			if got := d.status(t, name, "format"); got != format.name {
				t.Errorf("format %s", got)
			}
			if info, err := os.Stat(d.disk(name)); err != nil || info.Size() < m.size {
				t.Errorf("%v, %v", info, err)
			}
		})
	}
}
