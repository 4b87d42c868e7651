package treetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats/formattest"
)

// Image makes an empty image of size bytes until the test ends, and returns its path.
func Image(t testing.TB, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

// Command runs a program of a Debian package and returns its output. The test is skipped if there
// is no such program, unless the tools are required.
func Command(t testing.TB, program, debianPackage string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), formattest.Tool(t, program, debianPackage), args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// Copy copies a file with its holes until the test ends, and returns the copy's path. A file system
// that is mounted is copied as it is on the disk, so the copy is a crash image.
func Copy(t testing.TB, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	Command(t, "cp", "coreutils", "--sparse=always", path, to)
	return to
}

// Mount mounts an image read-only by the kernel until the test ends, and returns the directory.
// Options are added to ro,noatime; "" is none. The test is skipped where mounting is not allowed,
// unless the tools are required.
func Mount(t testing.TB, image, kind, options string) string {
	t.Helper()
	dir, end := attach(t, image, kind, strings.Trim("ro,noatime,"+options, ","))
	t.Cleanup(end)
	return dir
}

// Write mounts an image for writing, calls fill with the directory, and unmounts it.
func Write(t testing.TB, image, kind, options string, fill func(dir string)) {
	t.Helper()
	dir, end := attach(t, image, kind, strings.Trim("rw,"+options, ","))
	defer end()
	fill(dir)
}

func attach(t testing.TB, image, kind, options string) (dir string, end func()) {
	t.Helper()
	if os.Getuid() != 0 && os.Getenv("IMSFS_REQUIRE_TOOLS") == "" {
		t.Skip("mounting needs root")
	}
	dir = t.TempDir()
	Command(t, "mount", "mount", "-t", kind, "-o", "loop,"+options, image, dir)
	return dir, func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v\n%s", dir, err, out)
		}
	}
}
