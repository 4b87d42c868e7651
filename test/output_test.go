package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestConvertThatIsKilled: a conversion that is ended by a signal leaves no file.
func TestConvertThatIsKilled(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			dir := t.TempDir()
			disk := filepath.Join(dir, "disk.raw")
			mustRun(t, "dd", "if=/dev/urandom", "of="+disk, "bs=1M", "count=96", "status=none")
			cmd := exec.Command(program, "convert", "--threads", "1", "-O", "zvhd", "--level", "9", disk, filepath.Join(dir, "disk.zvhd"))
			must(t, cmd.Start())
			eventually(t, func() string {
				if writing(cmd.Process.Pid, dir) {
					return ""
				}
				return "nothing is being written"
			})
			must(t, cmd.Process.Signal(signal))
			if err := cmd.Wait(); err == nil {
				t.Error("the conversion was done before the signal came")
			}
			if got := mustRun(t, "ls", "-A", dir); got != "disk.raw" {
				t.Errorf("the directory holds %s", got)
			}
		})
	}
}

// writing reports whether a process has written to an unnamed file of the directory.
func writing(pid int, dir string) bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)) // it may have ended
	for _, fd := range files {
		path, err := os.Readlink(fd)
		if err != nil || !strings.HasPrefix(path, dir) || !strings.HasSuffix(path, " (deleted)") {
			continue
		}
		if info, err := os.Stat(fd); err == nil && info.Size() > mib {
			return true
		}
	}
	return false
}

// TestConvertOntoAFullDisk: a file that does not fit is refused at once, or leaves nothing.
func TestConvertOntoAFullDisk(t *testing.T) {
	small, disk := t.TempDir(), filepath.Join(t.TempDir(), "disk.raw")
	must(t, unix.Mount("tmpfs", small, "tmpfs", 0, "size=6m"))
	defer unix.Unmount(small, unix.MNT_DETACH)
	mustRun(t, "dd", "if=/dev/urandom", "of="+disk, "bs=1M", "count=9", "status=none")
	for _, tt := range []struct{ args, says string }{
		{"-O raw", "takes 9.0 MiB (9437184 bytes)"},
		{"-O qcow2", "has 6.0 MiB to spare"},
		{"-O vhd", "--no-space-check"},
		{"-O raw --no-space-check", "no space left on device: nothing is left of it"},
		{"-O qcow2 -o compression_type=zstd", "no space left on device: nothing is left of it"},
		{"-O zvhd2", "no space left on device: nothing is left of it"},
		{"-O vmdk -o subformat=streamOptimized", "no space left on device: nothing is left of it"},
	} {
		args := append(strings.Fields("convert -f raw "+tt.args), disk, filepath.Join(small, "dst"))
		imsfs(t, args...).refused(t, tt.says)
		if got := mustRun(t, "ls", "-A", small); got != "" {
			t.Errorf("%s leaves %s", tt.args, got)
		}
	}
	empty := filepath.Join(t.TempDir(), "empty.raw")
	mustRun(t, "truncate", "-s", "1G", empty)
	mustRun(t, program, "convert", "-f", "raw", "-O", "vdi", empty, filepath.Join(small, "dst"))
	imsfs(t, "convert", "-f", "raw", "-O", "raw", "-o", "preallocation=full", empty, filepath.Join(small, "raw")).refused(t, "takes 1.0 GiB")
	must(t, unix.Mount("", small, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	imsfs(t, "convert", "-f", "raw", "-O", "raw", empty, filepath.Join(small, "other")).refused(t, "read-only file system")
}

// TestConvertOfADamagedSource: the error names the damaged place, and no file is left.
func TestConvertOfADamagedSource(t *testing.T) {
	dir := t.TempDir()
	disk, packed := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "disk.zvhd2")
	mustRun(t, "dd", "if=/dev/urandom", "of="+disk, "bs=1M", "count=10", "status=none")
	mustRun(t, program, "convert", "-f", "raw", "-O", "zvhd2", disk, packed)
	b, err := os.ReadFile(packed)
	must(t, err)
	copy(b[7*mib:], bytes.Repeat([]byte{0x55}, 4096)) // in the fourth block, because random bytes do not compress
	must(t, os.WriteFile(packed, b, 0o600))
	for _, target := range []string{filepath.Join(dir, "dst"), "-"} {
		imsfs(t, "convert", "-O", "raw", packed, target).refused(t, "reading the disk at 6291456", "zvhd2: at 0x")
	}
	if got := mustRun(t, "ls", "-A", dir); got != "disk.raw\ndisk.zvhd2" {
		t.Errorf("the directory holds %s", got)
	}
}

// TestConvertInPipes: standard input and output work in a shell's pipes.
func TestConvertInPipes(t *testing.T) {
	dir := t.TempDir()
	disk, packed := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "disk.qcow2")
	makeModel(t, disk, 13*mib+512, 3)
	r := sh(t, `set -o pipefail
"$1" convert -f raw -O raw "$2" - | "$1" convert -f raw -O qcow2 -o compression_type=deflate - "$3" &&
cat "$3" | "$1" convert -O raw -p - - | cmp - "$2" &&
! "$1" convert -f raw -O raw "$2" - | head -c 1000 >/dev/null`, program, disk, packed)
	if r.code != 0 {
		t.Errorf("%+v", r)
	}
	mustRun(t, "qemu-img", "check", packed)
}
