package inspect_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/inspect"
	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
	"github.com/imsfs/imsfs/inspect/tree/treetest"
)

const mib = 1 << 20

// fatImage makes a FAT file system with these files.
func fatImage(t testing.TB, size int64, files map[string]string) string {
	t.Helper()
	path := treetest.Image(t, size)
	treetest.Command(t, "mkfs.vfat", "dosfstools", "-n", "LABEL", path)
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		treetest.Command(t, "mcopy", "mtools", "-s", "-i", path, filepath.Join(dir, e.Name()), "::")
	}
	return path
}

// gptDisk makes a disk with partitions of these contents, each of a whole number of MiB.
func gptDisk(t testing.TB, size int64, script string, parts ...string) string {
	t.Helper()
	path := treetest.Image(t, size)
	cmd := exec.CommandContext(t.Context(), formattest.Tool(t, "sfdisk", "fdisk"), "-q", path)
	cmd.Stdin = strings.NewReader("label: gpt\n" + script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	off := int64(mib)
	for _, part := range parts {
		p, err := os.ReadFile(part)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.WriteAt(p, off); err != nil {
			t.Fatal(err)
		}
		off += int64(len(p))
	}
	return path
}

func open(t testing.TB, path string) *inspect.Layout {
	t.Helper()
	l, err := inspect.Open(t.Context(), formattest.OpenFile(t, path), inspect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// elf is the header of a 64-bit program for x86.
const elf = "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00"

func rootFiles() map[string]string {
	return map[string]string{
		"etc/os-release": "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n", "etc/debian_version": "12.7\n",
		"etc/hostname": "web\n", "bin/sh": elf, "boot/vmlinuz-6.1.0-9-amd64": "x", "boot/vmlinuz-6.1.0-10-amd64": "x",
		"boot/config-6.1.0-10-amd64": "CONFIG_VIRTIO=y\nCONFIG_VIRTIO_BLK=m\n",
		"var/lib/dpkg/status":        "Package: a\nStatus: install ok installed\n\nPackage: b\nStatus: deinstall ok config-files\n\nPackage: c\nStatus: install ok installed\n",
		"etc/fstab":                  "LABEL=LABEL / vfat defaults 0 1\nUUID=dead-beef /data ext4 defaults 0 2\nproc /proc proc defaults 0 0\n",
	}
}

func TestReport(t *testing.T) {
	path := gptDisk(t, 96*mib, "size=64M,name=root\nsize=16M\n", fatImage(t, 64*mib, rootFiles()))
	r, err := open(t, path).Report(t.Context(), "2026-11-28")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Systems) != 1 || len(r.Slices) != 2 || r.Slices[0].Content.Type != "vfat" || r.Slices[1].Content != nil {
		t.Fatalf("%+v", r)
	}
	s := r.Systems[0]
	if s.Root != "p1" || s.ID != "debian" || s.Version != "12.7" || s.Arch != "x86_64" || s.Bits != 64 || s.Hostname != "web" {
		t.Errorf("%+v", s)
	}
	if len(s.Kernels) != 2 || s.Kernels[0].Version != "6.1.0-10-amd64" || !s.Kernels[0].Default || len(s.Kernels[0].Virtio) != 2 || s.Kernels[1].Virtio != nil {
		t.Errorf("kernels %+v", s.Kernels)
	}
	if s.PackagesTotal == nil || *s.PackagesTotal != 2 || s.PackageFormat != "dpkg" {
		t.Errorf("packages %v of %s", s.PackagesTotal, s.PackageFormat)
	}
	if len(s.Mounts) != 2 || !s.Mounts[0].Found || s.Mounts[0].Slice != "p1" || s.Mounts[1].Found {
		t.Errorf("mounts %+v", s.Mounts)
	}
	if s.EOS.Date != "2026-06-10" {
		t.Errorf("%+v", s.EOS)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Fatal(err)
	}
}

// TestJoinedMounts reads a file of a separate /boot through the root.
func TestJoinedMounts(t *testing.T) {
	boot := fatImage(t, 32*mib, map[string]string{"grub/grub.cfg": "set default=0\n"})
	treetest.Command(t, "mlabel", "mtools", "-i", boot, "::BOOT")
	files := rootFiles()
	files["etc/fstab"] = "LABEL=BOOT /boot vfat defaults 0 0\n"
	path := gptDisk(t, 128*mib, "size=32M\nsize=64M\n", boot, fatImage(t, 64*mib, files))
	l := open(t, path)
	f, err := l.Files(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	tr, id, err := f.Resolve(t.Context(), "/boot/grub/grub.cfg", true)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 14)
	if n, err := tr.ReadAt(t.Context(), id, p, 0); n != len(p) || string(p) != "set default=0\n" {
		t.Errorf("%q, %v", p, err)
	}
}

func TestWhyThereIsNoTree(t *testing.T) {
	swap := treetest.Image(t, 16*mib)
	treetest.Command(t, "mkswap", "util-linux", swap)
	luks := treetest.Image(t, 16*mib)
	if err := os.WriteFile(luks, []byte("LUKS\xba\xbe\x00\x02"+strings.Repeat("\x00", 16*mib-8)), 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, gptDisk(t, 64*mib, "size=16M\nsize=16M\nsize=16M\n", swap, luks))
	for i, want := range []struct {
		kind error
		text string
	}{{inspect.ErrNoFileSystem, "swap"}, {disk.ErrUnsupported, "crypto_LUKS"}, {inspect.ErrNoFileSystem, ""}} {
		if _, err := l.Slices[i].Tree(t.Context()); !errors.Is(err, want.kind) || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: %v", l.Slices[i].ID, err)
		}
	}
	if _, err := l.Files(t.Context(), ""); !errors.Is(err, disk.ErrUnsupported) {
		t.Errorf("files of a disk with LUKS and swap: %v", err)
	}
	if _, err := l.Files(t.Context(), "p9"); err == nil || !strings.Contains(err.Error(), "p1, p2, p3") {
		t.Errorf("files of p9: %v", err)
	}
}

// TestBudget holds opening to 3 requests and 2 for each slice, the whole disk being one. A page of
// read-ahead comes on top of 64 KiB each.
func TestBudget(t *testing.T) {
	fs := fatImage(t, 32*mib, rootFiles())
	path := gptDisk(t, 256*mib, "size=32M\nsize=32M\nsize=32M\nsize=32M\n", fs, fs, fs, fs)
	if err := os.Truncate(path, 100<<30); err != nil {
		t.Fatal(err)
	}
	treetest.Command(t, "sgdisk", "gdisk", "-e", path)
	l := open(t, path)
	slices := int64(len(l.Slices))
	if c := l.Cost(); slices != 4 || c.Requests > 3+2*(slices+1) || c.Bytes > 80<<10+(slices+1)*64<<10 {
		t.Errorf("%d slices cost %+v", slices, c)
	}
}

// TestBudgetIsKept reports the budget's end instead of less than there is.
func TestBudgetIsKept(t *testing.T) {
	path := gptDisk(t, 96*mib, "size=64M\n", fatImage(t, 64*mib, rootFiles()))
	for n := range int64(12) {
		ctx := disk.WithBudget(t.Context(), disk.NewBudget(disk.Cost{Requests: n + 1}))
		l, err := inspect.Open(ctx, formattest.OpenFile(t, path), inspect.Options{})
		if err == nil {
			_, err = l.Files(ctx, "")
		}
		if err != nil && !errors.Is(err, disk.ErrBudget) {
			t.Errorf("after %d requests: %v", n+1, err)
		}
	}
}

// TestEveryDriverIsNamedOnce finds two drivers of one name.
func TestEveryDriverIsNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range inspect.Drivers() {
		if seen[d.Name()] {
			t.Errorf("%s is there twice", d.Name())
		}
		seen[d.Name()] = true
		var _ tree.Driver = d
	}
}
