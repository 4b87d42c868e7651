package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// zvhd2Disk is a raw disk with data at its start, across blocks and in its last sector, and a ZVHD2 made of it.
func zvhd2Disk(t *testing.T, c *console) (raw, image string) {
	t.Helper()
	dir := t.TempDir()
	raw = writeDisk(t, filepath.Join(dir, "disk.raw"), 21<<20+512, extent{0, 512}, extent{4<<20 - 100, 200}, extent{9 << 20, 3 << 20}, extent{21 << 20, 512})
	image = filepath.Join(dir, "disk.zvhd2")
	c.expect(t, 0, "convert", "-O", "zvhd2", raw, image)
	return raw, image
}

func TestZVHD2AndBack(t *testing.T) {
	c := newConsole()
	raw, image := zvhd2Disk(t, c)
	c.expect(t, 0, "check", image)
	c.expect(t, 0, "compare", raw, image)
	c.expect(t, 1, "compare", "--strict", raw, image) // the format rounds a disk up to whole GiB
	back := filepath.Join(filepath.Dir(raw), "back.raw")
	c.expect(t, 0, "convert", "-O", "raw", image, back)
	if out, code := qemuImg(t, "compare", "-f", "raw", "-F", "raw", raw, back); code != 0 {
		t.Errorf("qemu-img compare: %s", out)
	}
}

func TestZVHD2GoldenFilesConvert(t *testing.T) {
	golden, err := filepath.Glob("../../formats/zvhd2/testdata/*.zvhd2")
	if err != nil || len(golden) == 0 {
		t.Fatalf("golden files: %v, %v", golden, err)
	}
	c := newConsole()
	for _, image := range golden {
		t.Run(filepath.Base(image), func(t *testing.T) {
			raw := filepath.Join(t.TempDir(), "disk.raw")
			c.expect(t, 0, "check", image)
			c.expect(t, 0, "convert", "-O", "raw", image, raw)
			c.expectSame(t, image, raw)
			again := filepath.Join(t.TempDir(), "again.zvhd2")
			c.expect(t, 0, "convert", "-O", "zvhd2", raw, again)
			c.expectSame(t, image, again)
		})
	}
}

func TestZVHD2IsReproducible(t *testing.T) {
	c := newConsole()
	raw, image := zvhd2Disk(t, c)
	want, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	c.now = func() time.Time { return time.Unix(1, 0) }
	for _, threads := range []string{"1", "2", "7"} {
		c.expect(t, 0, "convert", "--force", "--threads", threads, "-O", "zvhd2", raw, image)
		if got, err := os.ReadFile(image); err != nil || !bytes.Equal(got, want) {
			t.Errorf("--threads %s: other bytes (%v)", threads, err)
		}
	}

	// A copy of another time gives the same under SOURCE_DATE_EPOCH, even one from before the format's zero.
	content, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), filepath.Base(raw))
	if err := os.WriteFile(copied, content, 0o666); err != nil {
		t.Fatal(err)
	}
	c.vars["SOURCE_DATE_EPOCH"] = "1"
	var results [2][]byte
	for i, src := range []string{raw, copied} {
		c.expect(t, 0, "convert", "--force", "-O", "zvhd2", src, image)
		if results[i], err = os.ReadFile(image); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(results[0], results[1]) || bytes.Equal(results[0], want) {
		t.Error("SOURCE_DATE_EPOCH does not decide alone")
	}
}

func TestZVHD2Damage(t *testing.T) {
	c := newConsole()
	raw, image := zvhd2Disk(t, c)
	flip(t, image, 4096+48+20) // in the first chunk's payload
	c.expect(t, 2, "check", image)
	if !strings.Contains(c.out.String(), "damage at 0x1") {
		t.Errorf("check says %q, want the first chunk's offset", &c.out)
	}
	c.expect(t, 2, "compare", raw, image)
	dst := filepath.Join(filepath.Dir(raw), "dst")
	c.expect(t, 1, "convert", "-O", "raw", image, dst)
	if got := names(t, filepath.Dir(raw)); got != "disk.raw disk.zvhd2" {
		t.Errorf("the directory holds %s", got)
	}

	if err := os.Truncate(image, 10000); err != nil {
		t.Fatal(err)
	}
	c.expect(t, 1, "info", image)
	if !strings.Contains(c.err.String(), "truncated") {
		t.Errorf("info says %q, want that the file is truncated", &c.err)
	}
	c.expect(t, 2, "check", image)
}
