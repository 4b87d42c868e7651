package qed

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// writes are commands for qemu-io that write, and write zeros, here and there in a disk, and in its last sector.
func writes(seed uint64, size int64) []string {
	rnd := rand.New(rand.NewPCG(seed, uint64(size)))
	args := []string{"-t", "unsafe", "-f", "qed", "-c", fmt.Sprintf("write -P 9 %d 512", size-512)}
	for i := range 6 {
		off := rnd.Int64N(size/512) * 512
		what := fmt.Sprintf("write -P %d", 1+rnd.IntN(254))
		if i%3 == 2 {
			what = "write -z"
		}
		args = append(args, "-c", fmt.Sprintf("%s %d %d", what, off, min(size-off, 512*(1+rnd.Int64N(1500)))))
	}
	return args
}

// TestAgainstQemu reads what qemu makes with clusters and tables of many sizes. It cannot make tables of one cluster
// (it takes the offset of its own for wrong), nor clusters of more than 4 MiB with tables (its largest size overflows).
func TestAgainstQemu(t *testing.T) {
	for _, tt := range []struct{ cluster, table, size int64 }{
		{4 << 10, 2, 512}, {4 << 10, 2, 9<<20 + 512}, {4 << 10, 16, 40<<20 + 7*512}, {64 << 10, 4, 5 << 20}, {1 << 20, 8, 3<<20 + 512}, {4 << 20, 2, 5<<20 + 512},
	} {
		t.Run(fmt.Sprintf("%d/%d/%d", tt.cluster, tt.table, tt.size), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.qed")
			options := fmt.Sprintf("cluster_size=%d,table_size=%d", tt.cluster, tt.table)
			formattest.Qemu(t, "qemu-img", "create", "-q", "-f", "qed", "-o", options, path, fmt.Sprint(tt.size))
			formattest.AsQemu(t, Driver{}, "qed", path, true)
			formattest.Qemu(t, "qemu-io", append(writes(1, tt.size), path)...)
			formattest.AsQemu(t, Driver{}, "qed", path, true)
		})
	}
}

func TestConvertedByQemu(t *testing.T) {
	raw := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(raw, formattest.Pattern(0, 7<<20+3*512), 0o600); err != nil {
		t.Fatal(err)
	}
	path := raw + ".qed"
	formattest.Qemu(t, "qemu-img", "convert", "-f", "raw", "-O", "qed", raw, path)
	formattest.AsQemu(t, Driver{}, "qed", path, true)
}

// TestLargeAgainstQemu has L2 tables of several pages far apart, and data at both ends.
func TestLargeAgainstQemu(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.qed")
	formattest.Qemu(t, "qemu-img", "create", "-q", "-f", "qed", path, "131G")
	formattest.Qemu(t, "qemu-io", "-t", "unsafe", "-f", "qed", "-c", "write -P 1 140660178432 512", "-c", "write -P 2 2147482624 2k", "-c", "write -z 512M 1M", "-c", "write -P 3 0 512", path)
	formattest.AsQemu(t, Driver{}, "qed", path, true)
}

// TestChainAgainstQemu: over an image that holds nothing, an overlay reads as it does alone. The names and formats in a
// chain of three are qemu's.
func TestChainAgainstQemu(t *testing.T) {
	const size = 5<<20 + 512
	dir := t.TempDir()
	base, middle, top := filepath.Join(dir, "base.qcow2"), filepath.Join(dir, "middle.qed"), filepath.Join(dir, "top.qed")
	formattest.Qemu(t, "qemu-img", "create", "-q", "-f", "qcow2", base, fmt.Sprint(size))
	formattest.Qemu(t, "qemu-img", "create", "-q", "-f", "qed", "-b", "base.qcow2", "-F", "qcow2", middle)
	formattest.Qemu(t, "qemu-io", append(writes(2, size), middle)...)
	formattest.AsQemu(t, Driver{}, "qed", middle, true)

	formattest.Qemu(t, "qemu-img", "create", "-q", "-f", "qed", "-b", "middle.qed", "-F", "qed", top)
	wantBacking(t, top, "{[middle.qed]  }")
	formattest.Qemu(t, "qemu-io", append(writes(3, size), top)...)
	formattest.Qemu(t, "qemu-img", "rebase", "-u", "-f", "qed", "-b", base, "-F", "qcow2", top)
	wantBacking(t, top, "{["+base+"]  }")
	formattest.AsQemu(t, Driver{}, "qed", top, true)

	raw := filepath.Join(dir, "base.raw")
	formattest.Qemu(t, "qemu-img", "create", "-q", "-f", "raw", raw, fmt.Sprint(size))
	formattest.Qemu(t, "qemu-img", "create", "-q", "-f", "qed", "-b", raw, "-F", "raw", top)
	wantBacking(t, top, "{["+raw+"] raw }")
}

func wantBacking(t *testing.T, path, want string) {
	t.Helper()
	img, err := Driver{}.Open(t.Context(), formattest.OpenFile(t, path), formats.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := img.Info().Backing; got == nil || fmt.Sprint(*got) != want {
		t.Errorf("backing %v, want %s", got, want)
	}
}
