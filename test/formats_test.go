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

// imageFormat is a format of images.
type imageFormat struct {
	name string
	qemu string // qemu-img's name; "" if it cannot make it
	// variants are arguments of qemu-img convert for each variant.
	variants []string
	// compares tells which parts of qemu-img map's output can be compared.
	compares mapping
}

// imageFormats are all formats that the program must read.
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

// TestEveryFormatIsKnown: the program has a driver for each format.
func TestEveryFormatIsKnown(t *testing.T) {
	for _, f := range imageFormats {
		t.Run(f.name, f.need)
	}
}

// need fails a test of a format that the program does not list.
func (f imageFormat) need(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(mustRun(t, program, "formats")) {
		if name, _, _ := strings.Cut(line, " "); name == f.name {
			return
		}
	}
	t.Fatalf("imsfs formats does not list %s", f.name)
}

// formatShapes are the disks that images are made of: all in a format's first variant, some in the
// others. make writes the raw file.
var formatShapes = []struct {
	name  string
	usual bool // only in the first variant
	make  func(t *testing.T, path string)
}{
	{"one sector", true, mixed(512)},
	{"odd sectors", false, mixed(5*mib + 3*512)},
	{"empty", true, sparse(7 * mib)},
	{"full", true, func(t *testing.T, path string) {
		mustRun(t, "dd", "if=/dev/urandom", "of="+path, "bs=1M", "count=3", "status=none")
	}},
	{"last cluster", false, sparse(33*mib+512, 33*mib+100)},
}

// TestImagesOfQemuImg: the program and qemu-img find the same bytes, extents and facts in the
// images that qemu-img makes.
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
						mustRun(t, "qemu-img", args...)
						format.sameAsQemu(t, image)
						mustRun(t, program, "compare", "-F", "raw", image, disk)
					})
				}
			})
		}
	}
}

// sameAsQemu checks that the program and qemu-img read an image with its backing files alike.
func (f imageFormat) sameAsQemu(t *testing.T, image string, flags ...string) {
	t.Helper()
	ours, theirs := image+".ours", image+".theirs"
	formatArgs := []string{"-f", f.name}
	if f.name != "raw" {
		formatArgs = nil // found by content
	}
	mustRun(t, program, slices.Concat([]string{"convert", "-O", "raw"}, formatArgs, flags, []string{image, ours})...)
	mustRun(t, "qemu-img", "convert", "-f", f.qemu, "-O", "raw", image, theirs)
	mustRun(t, "cmp", ours, theirs)
	compareMaps(t, f.compares,
		mustRun(t, program, slices.Concat([]string{"map", "--json"}, formatArgs, flags, []string{image})...),
		mustRun(t, "qemu-img", "map", "-f", f.qemu, "--output=json", image))
	f.sameInfo(t, image)
	if r := imsfs(t, slices.Concat([]string{"check"}, formatArgs, []string{image})...); r.code != 0 && r.code != 63 {
		t.Errorf("check: %+v", r)
	}
}

// sameInfo compares the facts that both print.
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
		mustRun(t, program, "info", "--json", "-f", f.name, image):                 &ours,
		mustRun(t, "qemu-img", "info", "-f", f.qemu, "--output=json", "-U", image): &theirs,
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

// TestImagesInTheTree: a registered image in any format has the bytes of the disk that it was made
// of.
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
			mustRun(t, "qemu-img", "convert", "-f", "raw", "-O", format.qemu, m.path, image)
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
