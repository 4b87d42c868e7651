package vdi

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/imsfs/imsfs/formats/formattest"
)

// TestAgainstQemu reads what qemu makes, of many sizes: empty, written at random, with data in the last sector.
func TestAgainstQemu(t *testing.T) {
	for _, static := range []string{"off", "on"} {
		for _, size := range []int64{512, 1 << 20, 1<<20 + 512, 9<<20 + 7*512} {
			t.Run(fmt.Sprintf("static=%s/%d", static, size), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "a.vdi")
				formattest.Qemu(t, "qemu-img", "create", "-q", "-f", "vdi", "-o", "static="+static, path, fmt.Sprint(size))
				extents := static == "off" // qemu looks through a static image for holes in the file
				formattest.AsQemu(t, Driver{}, "vdi", path, extents)
				rnd := rand.New(rand.NewPCG(uint64(size), 3))
				args := []string{"-t", "unsafe", "-f", "vdi", "-c", fmt.Sprintf("write -P 9 %d 512", size-512)}
				for range 4 {
					off := rnd.Int64N(size/512) * 512
					args = append(args, "-c", fmt.Sprintf("write -P %d %d %d", 1+rnd.IntN(254), off, min(size-off, 512*(1+rnd.Int64N(3000)))))
				}
				formattest.Qemu(t, "qemu-io", append(args, path)...)
				formattest.AsQemu(t, Driver{}, "vdi", path, extents)
			})
		}
	}
}

func TestConvertedByQemu(t *testing.T) {
	raw := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(raw, formattest.Pattern(0, 7<<20+3*512), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, static := range []string{"off", "on"} {
		path := raw + static
		formattest.Qemu(t, "qemu-img", "convert", "-f", "raw", "-O", "vdi", "-o", "static="+static, raw, path)
		formattest.AsQemu(t, Driver{}, "vdi", path, true)
	}
}

// TestPagesOfTheMapAgainstQemu has a block map of several pages, and data at both ends.
func TestPagesOfTheMapAgainstQemu(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.vdi")
	formattest.Qemu(t, "qemu-img", "create", "-q", "-f", "vdi", path, "33G")
	formattest.Qemu(t, "qemu-io", "-t", "unsafe", "-f", "vdi", "-c", "write -P 1 35433479680 512", "-c", "write -P 2 16383M 2M", "-c", "write -P 3 0 512", path)
	formattest.AsQemu(t, Driver{}, "vdi", path, true)
}
