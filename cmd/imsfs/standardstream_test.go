package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConvertFromStandardInput(t *testing.T) {
	dir := t.TempDir()
	src := writeDisk(t, filepath.Join(dir, "src"), 9<<20+512, extent{5000, 100_000}, extent{9 << 20, 512})
	packed, dst := filepath.Join(dir, "packed"), filepath.Join(dir, "dst")
	c := newConsole()
	c.expect(t, 0, "convert", "-O", "qcow2", "-o", "compression_type=zstd", src, packed)
	for _, path := range []string{src, packed} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c.stdin = bytes.NewReader(b)
		c.expect(t, 0, "convert", "--force", "-O", "vmdk", "-", dst)
		c.expectSame(t, src, dst)
		if got := names(t, dir); got != "dst packed src" {
			t.Errorf("the directory holds %s", got)
		}
	}
	var before []byte // the same bytes give the same file, whenever they come
	for range 2 {
		c.stdin = strings.NewReader(strings.Repeat("x", 1024))
		c.expect(t, 0, "convert", "--force", "-O", "vhd", "-", dst)
		b, err := os.ReadFile(dst)
		if err != nil || before != nil && !bytes.Equal(b, before) {
			t.Errorf("%v, or other bytes", err)
		}
		before = b
	}
	for _, content := range []string{"", "\x1f\x8b\x08\x00"} {
		c.stdin = strings.NewReader(content)
		c.expect(t, 1, "convert", "--force", "-O", "vhd", "-", dst)
		if !strings.HasPrefix(c.err.String(), "imsfs: standard input") {
			t.Errorf("stderr %q", &c.err)
		}
	}
}

func TestConvertToStandardOutput(t *testing.T) {
	src := writeDisk(t, filepath.Join(t.TempDir(), "src"), 9<<20+512, extent{5000, 100_000}, extent{9 << 20, 512})
	want, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	c := newConsole()
	c.expect(t, 0, "convert", "-O", "raw", "--sha256", "-p", src, "-")
	if !bytes.Equal(c.out.Bytes(), want) {
		t.Errorf("%d bytes came out, or others", c.out.Len())
	}
	if sum := fmt.Sprintf("%x  -\n", sha256.Sum256(want)); !strings.Contains(c.err.String(), sum) {
		t.Errorf("stderr %q, want %q", &c.err, sum)
	}
	for flags, says := range map[string]string{
		"-O qcow2":                    "cannot be written there",
		"-O raw -o preallocation=off": "nothing to choose",
		"-O raw --level 3":            "nothing to choose",
	} {
		c.expect(t, 1, append(strings.Fields("convert "+flags), src, "-")...)
		if !strings.Contains(c.err.String(), says) || c.out.Len() > 0 {
			t.Errorf("%s: stderr %q, want %q", flags, &c.err, says)
		}
	}
}

func TestConvertPrintsTheFilesDigest(t *testing.T) {
	dir := t.TempDir()
	src, dst := writeDisk(t, filepath.Join(dir, "src"), 9<<20, extent{5000, 100_000}), filepath.Join(dir, "dst")
	c := newConsole()
	for _, format := range []string{"raw", "qcow2", "zvhd"} {
		c.expect(t, 0, "convert", "--force", "--sha256", "-O", format, src, dst)
		b, err := os.ReadFile(dst)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%x  %s\n", sha256.Sum256(b), dst); c.out.String() != want {
			t.Errorf("stdout %q, want %q", &c.out, want)
		}
	}
}

func TestConvertNamesFormatsThatHoldTheDisk(t *testing.T) {
	dir := t.TempDir()
	src := writeDisk(t, filepath.Join(dir, "src"), 3<<40)
	c := newConsole()
	c.expect(t, 1, "convert", "-O", "vhd", src, filepath.Join(dir, "dst"))
	if want := "2190433320960 (2040 GiB); these hold it: raw, zvhd2, qcow2, vdi, vhdx, vmdk, zvhd"; !strings.Contains(c.err.String(), want) {
		t.Errorf("stderr %q, want %q", &c.err, want)
	}
}
