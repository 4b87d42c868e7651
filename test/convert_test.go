package test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// shapes are disks that are converted to a format and back. make writes the raw file.
var shapes = []struct {
	name string
	make func(t *testing.T, path string)
}{
	{"one sector", mixed(512)},
	{"one block", mixed(2 * mib)},
	{"a sector less than a block", mixed(2*mib - 512)},
	{"a sector more than blocks", mixed(12*mib + 512)},
	{"no whole sector", mixed(3*mib + 77)},
	{"mixed", mixed(24 * mib)},
	{"all holes", sparse(9 * mib)},
	{"full", func(t *testing.T, path string) {
		mustRun(t, "dd", "if=/dev/urandom", "of="+path, "bs=1M", "count=6", "status=none")
	}},
	{"large and nearly empty", sparse(3<<30, 512, 1<<30-4096, 3<<30-512)},
}

func mixed(size int64) func(*testing.T, string) {
	return func(t *testing.T, path string) { makeModel(t, path, size, 19) }
}

// sparse makes a hole with a few words at the given offsets.
func sparse(size int64, at ...int64) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		f, err := os.Create(path)
		must(t, err)
		defer f.Close()
		must(t, f.Truncate(size))
		for _, off := range at {
			if _, err := f.WriteAt([]byte("here is something"), off); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestConvertAgainstQemu: a disk that is converted to a format and back is the same, as qemu-img
// and the program compare it.
func TestConvertAgainstQemu(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			dir := t.TempDir()
			raw, packed, back, again := filepath.Join(dir, "a.raw"), filepath.Join(dir, "a.zvhd2"), filepath.Join(dir, "b.raw"), filepath.Join(dir, "b.zvhd2")
			shape.make(t, raw)
			mustRun(t, program, "convert", "-f", "raw", "-O", "zvhd2", raw, packed)
			mustRun(t, program, "check", packed)
			mustRun(t, program, "convert", "-O", "raw", packed, back)
			mustRun(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", raw, back)
			mustRun(t, program, "compare", "-f", "raw", raw, packed)
			if a, b := space(t, raw), space(t, back); b > a+256*kib { // the borders of a hole may be rounded
				t.Errorf("the disk came back with %d bytes of space, and went with %d", b, a)
			}
			mustRun(t, "env", "GOMAXPROCS=1", program, "convert", "-f", "raw", "-O", "zvhd2", raw, again)
			mustRun(t, "cmp", packed, again)
			checkDifference(t, packed, back)
		})
	}
}

// checkDifference changes a byte and checks that both comparisons find it.
func checkDifference(t *testing.T, packed, raw string) {
	t.Helper()
	changed := raw + ".changed"
	mustRun(t, "cp", "--sparse=always", raw, changed)
	f, err := os.OpenFile(changed, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, 300); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{b[0] ^ 1}, 300); err != nil {
		t.Fatal(err)
	}
	if r := run(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", raw, changed); r.code != 1 {
		t.Errorf("qemu-img compare of different disks: %+v", r)
	}
	if r := imsfs(t, "compare", "-F", "raw", packed, changed); r.code != 1 {
		t.Errorf("imsfs compare of different disks: %+v", r)
	}
}

func space(t *testing.T, path string) int64 {
	t.Helper()
	var st syscall.Stat_t
	must(t, syscall.Stat(path, &st))
	return st.Blocks * 512
}
