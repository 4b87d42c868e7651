package test

import (
	"crypto/sha256"
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMountedFileSystem reads real files through ext4, a loop device, a disk and an image.
func TestMountedFileSystem(t *testing.T) {
	d := serve(t)
	raw := d.file("ext4.raw")
	mustRun(t, "mkfs.ext4", "-q", "-d", "..", raw, "128M") // this project's own sources
	for _, format := range written {
		t.Run(format, func(t *testing.T) {
			d.register(t, format, model{path: raw}.as(t, format))
			at := mountLoop(t, d.disk(format))
			want, got := hashes(t, ".."), hashes(t, at)
			delete(got, "lost+found")
			if len(got) != len(want) || len(want) < 100 {
				t.Errorf("%d files and directories are mounted, want %d", len(got), len(want))
			}
			for name, sum := range want {
				if got[name] != sum {
					t.Errorf("%s is not what it was", name)
				}
			}
		})
	}
}

// Nothing shows that a block device was written to, or that its name means another one.
func TestBlockDeviceIsNoSource(t *testing.T) {
	d := serve(t)
	file := makeModel(t, d.file("good.raw"), mib, 9)
	d.register(t, "good", file.path)
	device := mustRun(t, "losetup", "--find", "--show", "--read-only", file.path)
	t.Cleanup(func() { mustRun(t, "losetup", "--detach", device) })
	if err := d.command("", "register a "+device); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("the write's error is %v, want EOPNOTSUPP", err)
	}
	checkRefusal(t, d.place, []string{device, "block device"})
}

// mountLoop mounts a disk's file system until the end of the test, read-only and without replaying
// its journal.
func mountLoop(t *testing.T, disk string) string {
	t.Helper()
	device := mustRun(t, "losetup", "--find", "--show", "--read-only", disk)
	t.Cleanup(func() { mustRun(t, "losetup", "--detach", device) })
	at := t.TempDir()
	if err := unix.Mount(device, at, "ext4", unix.MS_RDONLY, "noload"); err != nil {
		t.Fatalf("mounting %s: %v", device, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	})
	return at
}

// hashes maps the relative path of each file and directory below dir to its mode and content.
func hashes(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
		found[name] = e.Type().String()
		if e.Type().IsRegular() {
			content, err := os.ReadFile(path)
			sum := sha256.Sum256(content)
			found[name] += string(sum[:])
			return err
		}
		return nil
	})
	must(t, err)
	return found
}
