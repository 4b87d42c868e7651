package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConvertRefusesChoices(t *testing.T) {
	dir := t.TempDir()
	src := writeDisk(t, filepath.Join(dir, "src"), 4096, extent{0, 4096})
	tests := []struct{ format, choices, says string }{
		{"qcow2", "bogus=1", `unknown option "bogus": known are cluster_size, compression_type`},
		{"qcow2", "uuid=6ba7b810-9dad-41d1-80b4-00c04fd430c8", `unknown option "uuid": known are`},
		{"raw", "timestamp=1", `unknown option "timestamp": known are preallocation`},
		{"zvhd2", "bogus=1", `unknown option "bogus": known are uuid, timestamp`},
		{"qcow2", "cluster_size", "must be KEY=VALUE"},
		{"qcow2", "cluster_size=4k,,", "must be KEY=VALUE"},
		{"qcow2", "cluster_size=4k,cluster_size=8k", "given twice"},
		{"qcow2", "cluster_size=3k", "power of two"},
		{"vhd", "timestamp=yesterday", "seconds since 1970"},
		{"vhd", "timestamp=-1", "seconds since 1970"},
		{"vhd", "uuid=00000000-0000-0000-0000-000000000000", "not all zeros"},
		{"vhd", "uuid=6ba7b8109dad41d180b400c04fd430c8", "must be a UUID"},
		{"vhd", "uuid=6ba7b810-9dad-41d1-80b4-00c04fd430", "must be a UUID"},
		{"iso", "a=b", "does not write it: it writes raw"},
	}
	c := newConsole()
	for _, tt := range tests {
		t.Run(tt.format+" "+tt.choices, func(t *testing.T) {
			c.expect(t, 1, "convert", "-O", tt.format, "-o", tt.choices, src, filepath.Join(dir, "dst"))
			if !strings.Contains(c.err.String(), tt.says) || names(t, dir) != "src" {
				t.Errorf("stderr %q, want %q; directory %s", &c.err, tt.says, names(t, dir))
			}
		})
	}
}

func TestConvertTakesChoices(t *testing.T) {
	dir := t.TempDir()
	src := writeDisk(t, filepath.Join(dir, "src"), 1<<20, extent{0, 4096})
	dst := filepath.Join(dir, "dst")
	c := newConsole()
	c.expect(t, 0, "convert", "-O", "qcow2", "-o", "cluster_size=4k", "-o", "compression_type=zstd", src, dst)
	c.expect(t, 0, "info", dst)
	for _, fact := range []string{"cluster size: 4.0 KiB", "zstd"} {
		if !strings.Contains(c.out.String(), fact) {
			t.Errorf("info:\n%swant %s", &c.out, fact)
		}
	}
	for _, format := range []string{"vhd", "vhdx", "vdi", "vmdk", "zvhd", "zvhd2"} {
		written := func(choices string) string {
			c.expect(t, 0, "convert", "--force", "-O", format, "-o", choices, src, dst)
			b, err := os.ReadFile(dst)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		if a, b := written("uuid=6ba7b810-9dad-41d1-80b4-00c04fd430c8"), written("uuid=6ba7b810-9dad-41d1-80b4-00c04fd430c9"); a == b {
			t.Errorf("%s: the UUID is not in the file", format)
		}
	}
	for _, format := range []string{"vhd", "zvhd", "zvhd2"} {
		sum := func(epoch string, args ...string) string {
			c.vars["SOURCE_DATE_EPOCH"] = epoch
			c.expect(t, 0, append([]string{"convert", "--force", "-O", format, src, dst}, args...)...)
			b, err := os.ReadFile(dst)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		if sum("1234567890") != sum("1", "-o", "timestamp=1234567890") {
			t.Errorf("%s: timestamp= is not what SOURCE_DATE_EPOCH is", format)
		}
		if sum("1234567890") == sum("1234567891") {
			t.Errorf("%s: the time is not in the file", format)
		}
	}
}

func TestConvertListsChoices(t *testing.T) {
	c := newConsole()
	c.expect(t, 0, "convert", "-O", "vhd", "-o", "help")
	for _, word := range []string{"subformat=  dynamic", "align=", "uuid=", "timestamp="} {
		if !strings.Contains(c.out.String(), word) {
			t.Errorf("stdout %q, want %q", &c.out, word)
		}
	}
	c.expect(t, 2, "convert", "-o", "help")
	c.expect(t, 1, "convert", "-O", "iso", "-o", "help")
}
