package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// target is a way to write a disk.
type target struct {
	format  string
	choices string // the value of -o
	qemu    string // qemu-img's name of the format; "" if it has none
	own     bool   // is tested with few sources, because the format's other variants cover the rest
}

// targets are all formats that the program writes, with their variants.
var targets = []target{
	{"raw", "", "raw", false},
	{"raw", "preallocation=full", "raw", true},
	{"qcow2", "", "qcow2", false},
	{"qcow2", "compression_type=deflate", "qcow2", false},
	{"qcow2", "compression_type=zstd", "qcow2", false},
	{"qcow2", "compression_type=zstd,cluster_size=2M", "qcow2", false},
	{"qcow2", "cluster_size=512", "qcow2", true},
	{"vhd", "", "vpc", false},
	{"vhd", "subformat=fixed", "vpc", false},
	{"vhd", "align=1MiB", "vpc", true},
	{"vhdx", "", "vhdx", false},
	{"vhdx", "block_size=1MiB", "vhdx", true},
	{"vmdk", "", "vmdk", false},
	{"vmdk", "subformat=streamOptimized", "vmdk", false},
	{"vdi", "", "vdi", false},
	{"zvhd", "", "", false},
	{"zvhd2", "", "", false},
}

func (g target) String() string { return strings.TrimSpace(g.format + " " + g.choices) }

// write converts an image. flags are the source's.
func (g target) write(t *testing.T, image, dst string, flags ...string) {
	t.Helper()
	args := slices.Concat([]string{"convert", "-O", g.format}, flags)
	if g.choices != "" {
		args = append(args, "-o", g.choices)
	}
	mustRun(t, program, append(args, image, dst)...)
}

// same checks that a written image holds the raw disk, as qemu-img and the program compare it, and
// that qemu-img check finds no fault.
func (g target) same(t *testing.T, disk, written string) {
	t.Helper()
	mustRun(t, program, "compare", "-f", "raw", "-F", g.format, disk, written)
	if g.qemu == "" {
		return
	}
	if slow := g.qemu == "vhdx" || g.qemu == "vmdk"; slow && fileSize(t, disk) > 1<<30 { // qemu-img is slow with their holes: compare the ends only
		for _, off := range []int64{0, fileSize(t, disk) - mib} {
			mustRun(t, "qemu-img", "compare", "--image-opts", window("raw", disk, off), window(g.qemu, written, off))
		}
	} else {
		mustRun(t, "qemu-img", "compare", "-f", "raw", "-F", g.qemu, disk, written)
	}
	if r := run(t, "qemu-img", "check", "-f", g.qemu, written); r.code != 0 && r.code != 63 { // 63: the format has no check
		t.Errorf("qemu-img check: %+v", r)
	}
}

// window returns qemu-img's name for one MiB of a disk.
func window(format, path string, off int64) string {
	return fmt.Sprintf("driver=raw,offset=%d,size=%d,file.driver=%s,file.file.driver=file,file.file.filename=%s", off, mib, format, path)
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return info.Size()
}

// TestEveryWriterIsATarget: each format that the program lists as written is in the table.
func TestEveryWriterIsATarget(t *testing.T) {
	for line := range strings.Lines(mustRun(t, program, "formats")) {
		words := strings.Fields(line)
		if words[2] == "yes" && !slices.ContainsFunc(targets, func(g target) bool { return g.format == words[0] }) {
			t.Errorf("%s is written, and is no target", words[0])
		}
	}
}

// pairSources returns the images that are converted to all targets, made by qemu-img if it can.
func pairSources(t *testing.T, disk string) map[string][]string {
	t.Helper()
	dir := filepath.Dir(disk)
	sources := map[string][]string{"raw": {disk, "-f", "raw"}}
	for _, format := range imageFormats {
		image := filepath.Join(dir, format.name)
		switch {
		case format.name == "raw":
			continue
		case format.name == "iso":
			mustRun(t, "genisoimage", "-quiet", "-o", image, disk)
		case format.qemu == "":
			mustRun(t, program, "convert", "-f", "raw", "-O", format.name, disk, image)
		default:
			mustRun(t, "qemu-img", "convert", "-f", "raw", "-O", format.qemu, disk, image)
		}
		sources[format.name] = []string{image, "-f", format.name}
	}
	for name, args := range map[string]string{
		"qcow2 deflate": "-c -O qcow2",
		"qcow2 zstd":    "-c -O qcow2 -o compression_type=zstd",
		"vmdk stream":   "-O vmdk -o subformat=streamOptimized",
		"vhd fixed":     "-O vpc -o subformat=fixed",
	} {
		image := filepath.Join(dir, name)
		mustRun(t, "qemu-img", append(strings.Fields("convert -f raw "+args), disk, image)...)
		sources[name] = []string{image}
	}
	return sources
}

// TestEveryPair converts each format to each.
func TestEveryPair(t *testing.T) {
	dir := inMemory(t)
	disk := filepath.Join(dir, "disk.raw")
	makeModel(t, disk, 4*mib+3*512, 23)
	for name, source := range pairSources(t, disk) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, disk := inMemory(t), disk
			if name == "iso" {
				disk = source[0] // the image is the disk
			}
			for i, g := range targets {
				if g.own {
					continue
				}
				t.Run(g.String(), func(t *testing.T) {
					written := filepath.Join(dir, string(rune('a'+i)))
					g.write(t, source[0], written, source[1:]...)
					g.same(t, disk, written)
					os.Remove(written) // frees memory
				})
			}
		})
	}
}

// inMemory returns a directory in memory, because these tests write hundreds of files. Other tests
// cover syncing.
func inMemory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1g"))
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestEveryTargetHoldsEveryShape writes disks with sizes and contents at the limits.
func TestEveryTargetHoldsEveryShape(t *testing.T) {
	for _, shape := range []struct {
		name string
		make func(*testing.T, string)
	}{
		{"one sector", mixed(512)},
		{"a sector less than a block", mixed(2*mib - 512)},
		{"empty", sparse(9*mib + 512)},
		{"130 GiB with data at the end", sparse(130<<30, 0, 130<<30-512)},
	} {
		t.Run(shape.name, func(t *testing.T) {
			t.Parallel()
			dir := inMemory(t)
			disk := filepath.Join(dir, "disk.raw")
			shape.make(t, disk)
			for i, g := range targets {
				if g.choices == "preallocation=full" && strings.HasPrefix(shape.name, "130") || g.choices == "cluster_size=512" && strings.HasPrefix(shape.name, "130") {
					continue // too large for the host and for such an image
				}
				t.Run(g.String(), func(t *testing.T) {
					written := filepath.Join(dir, string(rune('a'+i)))
					g.write(t, disk, written, "-f", "raw")
					g.same(t, disk, written)
					if r := imsfs(t, "check", "-f", g.format, written); r.code != 0 && r.code != 63 {
						t.Errorf("check: %+v", r)
					}
					os.Remove(written) // frees memory
				})
			}
		})
	}
}
