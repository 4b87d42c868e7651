//go:build !race

package zvhd2

import (
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// The race detector makes sync.Pool drop things at random, so this holds without it only.
func TestReadingAllocatesNothing(t *testing.T) {
	for _, name := range []string{"tiny", "tiny-zlib"} {
		var src formats.Source = formattest.Bytes(readFile(t, name+".zvhd2"))
		img := openSource(t, src)
		p := make([]byte, 2<<20)
		for what, read := range map[string]func() error{
			"a whole block":   func() error { return img.ReadAt(t.Context(), p, 2<<20) },
			"part of a block": func() error { return img.ReadAt(t.Context(), p[:4096], 2<<20+512) },
			"zeros":           func() error { return img.ReadAt(t.Context(), p, 64<<20) },
			"an extent":       func() error { _, err := img.Extent(t.Context(), 0, 1<<30); return err },
		} {
			allocs := testing.AllocsPerRun(20, func() {
				if err := read(); err != nil {
					t.Fatal(err)
				}
			})
			if allocs != 0 {
				t.Errorf("%s: reading %s allocates %v times", name, what, allocs)
			}
		}
	}
}
