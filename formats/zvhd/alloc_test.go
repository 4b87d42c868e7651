//go:build !race

package zvhd

import (
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// The race detector makes sync.Pool drop things at random, so this holds without it only.
func TestReadingByAnIndexAllocatesNothing(t *testing.T) {
	var src formats.Source = formattest.Bytes(readFile(t, "tiny.zvhd"))
	img := openIndexed(t, src)
	if err := img.UseIndex(t.Context(), buildIndex(t, img)); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 2<<20)
	for what, read := range map[string]func() error{
		"a whole block": func() error { return img.ReadAt(t.Context(), p, 2<<20) },
		"a piece":       func() error { return img.ReadAt(t.Context(), p[:pieceSize], 2<<20+pieceSize) },
		"a sector":      func() error { return img.ReadAt(t.Context(), p[:512], 2<<20+512) },
		"zeros":         func() error { return img.ReadAt(t.Context(), p, 64<<20) },
		"an extent":     func() error { _, err := img.Extent(t.Context(), 0, 1<<30); return err },
	} {
		allocs := testing.AllocsPerRun(20, func() {
			if err := read(); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("reading %s allocates %v times", what, allocs)
		}
	}
}
