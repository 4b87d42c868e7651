package qcow

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// sameAsQEMU compares content and map of an image file with what qemu-img makes of them.
func sameAsQEMU(t *testing.T, path string) {
	t.Helper()
	image := formattest.ReadFile(t, path)
	img := formattest.Open(t, New(), image, formats.OpenOptions{})
	raw := path + ".raw"
	formattest.Qemu(t, "qemu-img", "convert", "-O", "raw", path, raw)
	if got, want := formattest.ReadAll(t, img), formattest.ReadFile(t, raw); !bytes.Equal(got, want) {
		t.Errorf("the disk of %d bytes differs from qemu-img's of %d", len(got), len(want))
	}
	if got, want := fmt.Sprint(formattest.Map(t, img)), fmt.Sprint(formattest.QemuMap(t, path)); got != want {
		t.Errorf("map\n%v, want\n%v", got, want)
	}
	if damage, _ := checkImage(t, formattest.Bytes(image)); len(damage) > 0 {
		t.Errorf("damage %v", damage)
	}
}

// disks are contents: parts that compress and parts that do not, holes, the disk's ends.
func disks() map[string][]byte {
	mixed := make([]byte, 3<<20+1536)
	for off := 0; off < len(mixed); off += 8192 {
		part := mixed[off:min(off+8192, len(mixed))]
		switch off / 8192 % 5 {
		case 0, 1:
			copy(part, pattern(int64(off), 8192))
		case 2:
			copy(part, noise(int64(off), 8192))
		}
	}
	last := make([]byte, 1<<20-512)
	last[len(last)-1] = 1
	return map[string][]byte{
		"mixed": mixed, "last": last, "one sector": bytes.Repeat([]byte("x"), 512), "empty": make([]byte, 1<<20+512),
		"full": bytes.Repeat([]byte("full"), 1<<18),
	}
}

func TestConvertedImages(t *testing.T) {
	for name, disk := range disks() {
		for _, compress := range []bool{false, true} {
			t.Run(fmt.Sprint(name, compress), func(t *testing.T) {
				dir := t.TempDir()
				raw, path := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "disk.qcow")
				if err := os.WriteFile(raw, disk, 0o600); err != nil {
					t.Fatal(err)
				}
				if compress {
					// qemu-img 7.2 exits with 1 and no word after all has been written.
					formattest.QemuExit(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow", "-c", raw, path)
					formattest.Qemu(t, "qemu-img", "compare", raw, path)
				} else {
					formattest.Qemu(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow", raw, path)
				}
				sameAsQEMU(t, path)
				if damage, leaks := checkImage(t, formattest.Bytes(formattest.ReadFile(t, path))); len(damage)+len(leaks) > 0 {
					t.Errorf("damage %v, leaks %v", damage, leaks)
				}
			})
		}
	}
}

func TestWrittenImages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.qcow")
	formattest.Qemu(t, "qemu-img", "create", "-q", "-f", "qcow", path, "10M")
	formattest.QemuIO(t, path, "write -P 1 1k 3k", "write -P 2 9M 1M", "write -P 3 100k 200k", "write -c -P 4 400k 4k", "write -P 5 401k 1k", "write -c -P 6 500k 4k")
	sameAsQEMU(t, path)
}

// A layer alone has zeros, unallocated, where its backing file has data. With one, clusters are of 512 bytes.
func TestLayerOfAChain(t *testing.T) {
	dir := t.TempDir()
	base, path := filepath.Join(dir, "base.raw"), filepath.Join(dir, "disk.qcow")
	if err := os.WriteFile(base, pattern(1, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	formattest.Qemu(t, "qemu-img", "create", "-q", "-f", "qcow", "-b", base, "-F", "raw", path)
	formattest.QemuIO(t, path, "write -P 9 5k 10k", "write -P 8 1023k 1k")
	image := formattest.ReadFile(t, path)
	img := formattest.Open(t, New(), image, formats.OpenOptions{})
	if b := img.Info().Backing; b == nil || len(b.Paths) != 1 || b.Paths[0] != base || b.Format != "" {
		t.Errorf("backing = %+v, want %s", b, base)
	}
	if got := img.Info().ClusterSize; got != 512 {
		t.Errorf("clusters of %d bytes", got)
	}
	want := make([]byte, 1<<20)
	copy(want[5<<10:], bytes.Repeat([]byte{9}, 10<<10))
	copy(want[1023<<10:], bytes.Repeat([]byte{8}, 1<<10))
	if !bytes.Equal(formattest.ReadAll(t, img), want) {
		t.Error("the layer differs from what was written to it")
	}
	if damage, leaks := checkImage(t, formattest.Bytes(image)); len(damage)+len(leaks) > 0 {
		t.Errorf("damage %v, leaks %v", damage, leaks)
	}
	// Without the name of its backing file, qemu-img reads it alone, too.
	put64(image, offBackingOffset, 0)
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	sameAsQEMU(t, path)
}
