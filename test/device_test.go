package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestConvertToADevice: a raw disk is written over the start of a block device that nothing else uses.
func TestConvertToADevice(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	device := func(name, size string) string {
		mustRun(t, "truncate", "-s", size, at(name))
		d := mustRun(t, "losetup", "--find", "--show", at(name))
		t.Cleanup(func() { mustRun(t, "losetup", "--detach", d) })
		return d
	}
	mustRun(t, "bash", "-c", "head -c 1M /dev/urandom >"+at("disk.raw"))
	mustRun(t, "truncate", "-s", "3M", at("disk.raw"))
	mustRun(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", at("disk.raw"), at("disk.qcow2"))
	large := device("large", "8M")
	mustRun(t, "bash", "-c", "tr '\\0' x </dev/zero | head -c 8M >"+large)

	refused := func(says string, args ...string) {
		t.Helper()
		if r := run(t, program, append([]string{"convert"}, args...)...); r.code != 1 || !strings.Contains(r.stderr, says) {
			t.Errorf("%v: exit code %d, %s, want %q", args, r.code, r.stderr, says)
		}
	}
	refused("--force", "-O", "raw", at("disk.qcow2"), large)
	refused("use -O raw", "--force", "-O", "qcow2", at("disk.qcow2"), large)
	refused("has 1048576 bytes, the disk has 3145728", "--force", "-O", "raw", at("disk.qcow2"), device("small", "1M"))
	refused("is the source itself", "--force", "-f", "raw", "-O", "raw", large, large)

	sum := mustRun(t, program, "convert", "--force", "--sha256", "-O", "raw", at("disk.qcow2"), large)
	mustRun(t, "cmp", "-n", "3145728", at("disk.raw"), large)
	if want := mustRun(t, "sha256sum", at("disk.raw")); strings.Fields(want)[0] != strings.Fields(sum)[0] {
		t.Errorf("the digest is %s, want %s", sum, want)
	}
	if rest := mustRun(t, "bash", "-c", "tail -c 5M "+large+" | tr -d x | wc -c"); rest != "0" {
		t.Errorf("%s bytes after the disk's end were changed", rest)
	}

	mustRun(t, "mkfs.ext4", "-q", large)
	must(t, os.Mkdir(at("mnt"), 0o700))
	mustRun(t, "mount", large, at("mnt"))
	t.Cleanup(func() { mustRun(t, "umount", at("mnt")) })
	refused("is in use", "--force", "-O", "raw", at("disk.qcow2"), large)
}

// TestConvertToDevStdout: /dev/stdout is standard output, and not a file to be replaced.
func TestConvertToDevStdout(t *testing.T) {
	dir := t.TempDir()
	raw := filepath.Join(dir, "disk.raw")
	mustRun(t, "bash", "-c", "head -c 1M /dev/urandom >"+raw)
	for _, name := range []string{"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"} {
		mustRun(t, "bash", "-c", program+" convert -f raw -O raw "+raw+" "+name+" | cmp - "+raw)
		mustRun(t, "bash", "-c", program+" convert -f raw -O raw "+raw+" "+name+" >"+raw+".copy && cmp "+raw+" "+raw+".copy")
	}
}
