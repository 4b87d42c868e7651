package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats/all"
)

// TestSectorSize: the size of a disk's sectors is kept, or its loss is told, or the conversion is refused.
func TestSectorSize(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	raw := writeDisk(t, at("disk.raw"), 4<<20, extent{0, 8192})
	c := newConsole()
	c.formats = all.Formats()
	c.expect(t, 0, "convert", "-f", "raw", "-O", "vhdx", "-o", "logical_sector_size=4096", raw, at("large.vhdx"))
	shown := func(path string) string {
		t.Helper()
		c.expect(t, 0, "info", path)
		return c.out.String()
	}
	t.Run("info shows it", func(t *testing.T) {
		if !strings.Contains(shown(at("large.vhdx")), "\nlogical sector size: 4096 bytes\n") {
			t.Errorf("info: %s", &c.out)
		}
		if strings.Contains(shown(raw), "sector") {
			t.Errorf("info of a raw disk: %s", &c.out)
		}
	})
	t.Run("VHDX keeps it", func(t *testing.T) {
		c.expect(t, 0, "convert", "-O", "vhdx", at("large.vhdx"), at("again.vhdx"))
		if c.err.Len() > 0 || !strings.Contains(shown(at("again.vhdx")), "logical_sector_size: 4096") {
			t.Errorf("%s%s", &c.err, &c.out)
		}
		c.expect(t, 0, "compare", "-F", "raw", at("again.vhdx"), raw)
	})
	for _, format := range []string{"raw", "qcow2"} {
		t.Run(format+" is written with a warning", func(t *testing.T) {
			c.expect(t, 0, "convert", "-O", format, at("large.vhdx"), at("to."+format))
			if want := "warning: the disk has logical sectors of 4096 bytes and " + format + " does not record that"; !strings.Contains(c.err.String(), want) {
				t.Errorf("stderr: %s", &c.err)
			}
		})
	}
	for _, format := range []string{"vdi", "vmdk", "vhd", "zvhd", "zvhd2"} {
		t.Run(format+" is refused", func(t *testing.T) {
			c.expect(t, 1, "convert", "-O", format, at("large.vhdx"), at("to."+format))
			if want := "4096 bytes, the format always has 512: its guest would find no partitions; these hold it: raw, qcow2, vhdx"; !strings.Contains(c.err.String(), want) {
				t.Errorf("stderr: %s", &c.err)
			}
			if _, err := os.Stat(at("to." + format)); err == nil {
				t.Error("there is a file")
			}
		})
	}
	t.Run("a disk must be whole sectors", func(t *testing.T) {
		odd := writeDisk(t, at("odd.raw"), 4<<20+512)
		c.expect(t, 1, "convert", "-f", "raw", "-O", "vhdx", "-o", "logical_sector_size=4096", odd, at("odd.vhdx"))
		c.expect(t, 1, "convert", "-f", "raw", "-O", "vhdx", "-o", "logical_sector_size=1024", raw, at("odd.vhdx"))
		if !strings.Contains(c.err.String(), "must be 512 or 4096") {
			t.Errorf("stderr: %s", &c.err)
		}
	})
}
