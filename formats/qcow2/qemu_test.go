package qcow2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// sameAsQEMU compares content and map of an image file with what qemu-img makes of them. The file must be sound.
func sameAsQEMU(t *testing.T, path string) {
	t.Helper()
	image := formattest.ReadFile(t, path)
	img := formattest.Open(t, newDriver(), image, formats.OpenOptions{})
	raw := path + ".raw"
	formattest.Qemu(t, "qemu-img", "convert", "-O", "raw", path, raw)
	if got, want := formattest.ReadAll(t, img), formattest.ReadFile(t, raw); !bytes.Equal(got, want) {
		t.Errorf("the disk of %d bytes differs from qemu-img's of %d", len(got), len(want))
	}
	if got, want := fmt.Sprint(formattest.Map(t, img)), fmt.Sprint(formattest.QemuMap(t, path)); got != want {
		t.Errorf("map\n%v, want\n%v", got, want)
	}
	wantSound(t, formattest.Bytes(image))
}

// content is a disk of size bytes: parts that compress, parts that do not, holes, and data up to its end.
func content(size int64) []byte {
	rnd := rand.New(rand.NewPCG(uint64(size), 1))
	b := make([]byte, size)
	for off := int64(0); off < size; off += 8192 {
		part := b[off:min(off+8192, size)]
		kind := rnd.IntN(4)
		for i := range part {
			switch kind {
			case 0:
				part[i] = byte(rnd.Uint32())
			case 1:
				part[i] = "the quick brown fox jumps over "[i%31] + byte(i/997%3)
			}
		}
	}
	for i := max(0, size-700); i < size; i++ {
		b[i] = byte(i) | 1
	}
	return b
}

func writeRaw(t testing.TB, dir string, disk []byte) string {
	t.Helper()
	path := filepath.Join(dir, "disk.raw")
	if err := os.WriteFile(path, disk, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func convert(t testing.TB, raw, path, opts string) {
	t.Helper()
	formattest.Qemu(t, "qemu-img", append(append([]string{"convert", "-f", "raw", "-O", "qcow2"}, strings.Fields(opts)...), raw, path)...)
}

// layouts are options that change how a disk is laid out in the file.
var layouts = []string{
	"", "-o compat=0.10", "-o cluster_size=512", "-o cluster_size=4k,compat=0.10", "-o cluster_size=2M", "-o extended_l2=on",
	"-o extended_l2=on,cluster_size=16k", "-o lazy_refcounts=on,refcount_bits=1", "-o refcount_bits=64", "-S 0",
	"-c", "-c -o compat=0.10", "-c -o compression_type=zstd", "-c -o cluster_size=512", "-c -o cluster_size=512,compression_type=zstd",
	"-c -o cluster_size=2M", "-c -o cluster_size=2M,compression_type=zstd", "-c -o extended_l2=on,cluster_size=32k",
}

func TestConvertedImages(t *testing.T) {
	dir := t.TempDir()
	raw := writeRaw(t, dir, content(1<<20+1536))
	for i, opts := range layouts {
		t.Run(opts, func(t *testing.T) {
			path := filepath.Join(dir, fmt.Sprintf("%d.qcow2", i))
			convert(t, raw, path, opts)
			sameAsQEMU(t, path)
		})
	}
}

// TestEveryClusterSize has data that is compressed and data that is not in clusters of each size there may be.
func TestEveryClusterSize(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine computes, so there is nothing for the race detector: tested without it, not -short")
	}
	dir := t.TempDir()
	raw := writeRaw(t, dir, content(200<<10+512))
	for bits := minClusterBits; bits <= maxClusterBits; bits++ {
		for _, compress := range []string{"", []string{"-c", "-c -o compression_type=zstd"}[bits%2]} {
			t.Run(fmt.Sprint(1<<bits, " ", compress), func(t *testing.T) {
				path := filepath.Join(dir, fmt.Sprintf("%d%t.qcow2", bits, compress != ""))
				convert(t, raw, path, fmt.Sprintf("%s -o cluster_size=%d", compress, 1<<bits))
				sameAsQEMU(t, path)
			})
		}
	}
}

func TestDisksOfAllKinds(t *testing.T) {
	last := make([]byte, 3<<20-512)
	last[len(last)-1] = 1
	for name, disk := range map[string][]byte{
		"one sector": bytes.Repeat([]byte("x"), 512), "empty": make([]byte, 1<<20+512), "full": bytes.Repeat([]byte("full"), 1<<18), "last": last,
	} {
		for _, opts := range []string{"-o cluster_size=4k", "-c"} {
			t.Run(name+opts, func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "disk.qcow2")
				convert(t, writeRaw(t, dir, disk), path, opts)
				sameAsQEMU(t, path)
			})
		}
	}
}

// TestWrittenImages reads what a guest does to a disk: zeros with and without a place in the file, holes, subclusters.
func TestWrittenImages(t *testing.T) {
	for i, tt := range []struct {
		opts     string
		commands []string
	}{
		{"cluster_size=4k", []string{"write -P 1 0 64k", "write -z 8k 8k", "write -zu 32k 12k", "discard 48k 4k", "write -P 2 1000k 22k"}},
		{"cluster_size=64k,compat=0.10", []string{"write -P 1 100k 300k", "discard 192k 64k"}},
		{"extended_l2=on", []string{"write -P 1 0 2k", "write -P 2 6k 2k", "write -z 10k 2k", "write -P 3 100k 200k", "write -z 128k 20k", "discard 160k 10k", "write -z 400k 128k"}},
		{"extended_l2=on,cluster_size=16k", []string{"write -P 1 1k 512", "write -P 2 1022k 512", "write -zu 17k 3k"}},
		{"preallocation=metadata", []string{"write -P 1 60k 10k"}},
		{"preallocation=metadata,extended_l2=on", []string{"write -P 1 60k 10k"}},
		{"preallocation=falloc,cluster_size=512", []string{"write -P 1 60k 10k"}},
		{"cluster_size=2M", []string{"write -P 1 512k 512"}},
		{"cluster_size=32k", []string{"write -c -P 1 32k 32k", "write -P 2 0 32k", "write -c -P 3 64k 32k", "write -z 32k 32k", "write -c 992k 31232"}},
	} {
		t.Run(fmt.Sprint(i, tt.opts), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk.qcow2")
			formattest.Qemu(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", tt.opts, path, "1047040") // 1 MiB - 1.5 KiB
			formattest.QemuIO(t, path, tt.commands...)
			sameAsQEMU(t, path)
		})
	}
}

// TestLayersOfAChain reads each layer alone: what is not in it is zeros, and unallocated.
func TestLayersOfAChain(t *testing.T) {
	dir := t.TempDir()
	base, middle, top := filepath.Join(dir, "base.img"), filepath.Join(dir, "middle.qcow2"), filepath.Join(dir, "top.qcow2")
	convert(t, writeRaw(t, dir, content(512<<10)), base, "")
	formattest.Qemu(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.img", "-F", "qcow2", middle)
	formattest.QemuIO(t, middle, "write -P 9 100k 10k", "write -z 256k 64k")
	formattest.Qemu(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "extended_l2=on", "-b", middle, "-F", "qcow2", top, "1M")
	formattest.QemuIO(t, top, "write -P 8 101k 2k", "write -z 2k 2k")
	for path, want := range map[string]string{middle: "base.img", top: middle} {
		img := formattest.Open(t, newDriver(), formattest.ReadFile(t, path), formats.OpenOptions{})
		if b := img.Info().Backing; b == nil || len(b.Paths) != 1 || b.Paths[0] != want || b.Format != "qcow2" {
			t.Errorf("%s: backing = %+v, want %s in qcow2", path, b, want)
		}
		// Without the name of its backing file, qemu-img reads a layer alone, too.
		formattest.Qemu(t, "qemu-img", "rebase", "-u", "-b", "", path)
		sameAsQEMU(t, path)
	}
}

func TestSnapshots(t *testing.T) {
	for _, compat := range []string{"1.1", "0.10"} {
		t.Run(compat, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk.qcow2")
			formattest.Qemu(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k,compat="+compat, path, "256k")
			var want [][]byte
			for i := range 3 {
				formattest.QemuIO(t, path, fmt.Sprintf("write -P %d %dk 30k", i+1, i*13))
				formattest.Qemu(t, "qemu-img", "snapshot", "-c", fmt.Sprint("state ", i), path)
				raw := path + ".raw"
				formattest.Qemu(t, "qemu-img", "convert", "-O", "raw", path, raw)
				want = append(want, formattest.ReadFile(t, raw))
			}
			formattest.QemuIO(t, path, "write -z 0 64k")
			sameAsQEMU(t, path)
			image := formattest.ReadFile(t, path)
			list := formattest.Open(t, newDriver(), image, formats.OpenOptions{}).Info().Snapshots
			if len(list) != 3 {
				t.Fatalf("snapshots = %+v, want 3", list)
			}
			for i, s := range list {
				if s.ID != fmt.Sprint(i+1) || s.Name != fmt.Sprint("state ", i) || s.Size != 256<<10 || s.Time == 0 || s.VMState != 0 {
					t.Errorf("snapshot %d = %+v", i, s)
				}
				for _, by := range []string{s.ID, s.Name} {
					if got := formattest.ReadAll(t, formattest.Open(t, newDriver(), image, formats.OpenOptions{Snapshot: by})); !bytes.Equal(got, want[i]) {
						t.Errorf("snapshot %q reads as something else than when it was taken", by)
					}
				}
			}
		})
	}
}

func TestASnapshotHasItsOwnSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.qcow2")
	formattest.Qemu(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", path, "64k")
	formattest.QemuIO(t, path, "write -P 5 0 64k")
	formattest.Qemu(t, "qemu-img", "snapshot", "-c", "small", path)
	formattest.Qemu(t, "qemu-img", "resize", "-q", path, "256k")
	formattest.QemuIO(t, path, "write -P 6 0 256k")
	image := formattest.ReadFile(t, path)
	for name, want := range map[string][]byte{"": bytes.Repeat([]byte{6}, 256<<10), "small": bytes.Repeat([]byte{5}, 64<<10)} {
		if got := formattest.ReadAll(t, formattest.Open(t, newDriver(), image, formats.OpenOptions{Snapshot: name})); !bytes.Equal(got, want) {
			t.Errorf("snapshot %q: %d bytes, want %d of %d", name, len(got), len(want), want[0])
		}
	}
}
