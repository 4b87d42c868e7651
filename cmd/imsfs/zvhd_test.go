package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestZVHDAndBack(t *testing.T) {
	c := newConsole()
	dir := t.TempDir()
	raw := writeDisk(t, filepath.Join(dir, "disk.raw"), 41<<20+512, extent{0, 512}, extent{4<<20 - 100, 9 << 20}, extent{30 << 20, 3 << 20}, extent{41 << 20, 512})
	image, back := filepath.Join(dir, "disk.zvhd"), filepath.Join(dir, "back.raw")
	var want []byte
	for _, threads := range []string{"1", "2", "7"} {
		c.expect(t, 0, "convert", "--force", "--threads", threads, "-O", "zvhd", raw, image)
		got, err := os.ReadFile(image)
		if want == nil {
			want = got
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("--threads %s: other bytes (%v)", threads, err)
		}
	}
	c.expect(t, 0, "check", image)
	c.expect(t, 0, "compare", raw, image)
	c.expect(t, 1, "compare", "--strict", raw, image) // the format rounds a disk up to whole GiB
	c.expect(t, 0, "convert", "-O", "raw", image, back)
	if out, code := qemuImg(t, "compare", "-f", "raw", "-F", "raw", raw, back); code != 0 {
		t.Errorf("qemu-img compare: %s", out)
	}
	zvhd2 := filepath.Join(dir, "disk.zvhd2")
	c.expect(t, 0, "convert", "-O", "zvhd2", image, zvhd2)
	c.expect(t, 0, "compare", "--strict", image, zvhd2)
	flip(t, image, 4096+48+20) // in the first chunk's payload
	c.expect(t, 2, "check", image)
}

func TestZVHDGoldenFilesConvert(t *testing.T) {
	golden, err := filepath.Glob("../../formats/zvhd/testdata/*.zvhd")
	if err != nil || len(golden) == 0 {
		t.Fatalf("golden files: %v, %v", golden, err)
	}
	c := newConsole()
	for _, image := range golden {
		t.Run(filepath.Base(image), func(t *testing.T) {
			raw, again := filepath.Join(t.TempDir(), "disk.raw"), filepath.Join(t.TempDir(), "again.zvhd")
			c.expect(t, 0, "check", image)
			c.expect(t, 0, "convert", "-O", "raw", image, raw)
			c.expect(t, 0, "compare", image, raw)
			c.expect(t, 0, "convert", "-O", "zvhd", raw, again)
			c.expect(t, 0, "compare", "--strict", image, again) // the same blocks are stored
		})
	}
}
