package zvhd

import (
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// seeds are small images, whole and cut.
func seeds(t testing.TB) (images [][]byte) {
	t.Helper()
	part := func(off, n int64) formattest.Part { return formattest.Part{Off: off, Data: formattest.Pattern(off, n)} }
	for _, disk := range []formattest.Disk{
		{Bytes: 1 << 30},
		{Bytes: 1 << 30, Parts: []formattest.Part{part(100, 5000)}},
		{Bytes: 1 << 30, Parts: []formattest.Part{part(blockSize-512, 1024)}},
		{Bytes: 130 << 30, Parts: []formattest.Part{part(64<<30-512, 1024), part(130<<30-512, 512)}},
	} {
		image := writeImage(t, disk, formats.CreateOptions{})
		images = append(images, image, image[:len(image)/2], image[:len(image)-unit])
	}
	return images
}

// reseal puts the checksums of header and copy right, or the fuzzer would hardly get past them.
func reseal(image []byte) []byte {
	for _, at := range []int{0, len(image) - unit} {
		if at >= 0 && len(image)-at >= headerSize && string(image[at:at+8]) == cookie {
			seal(image, int64(at))
		}
	}
	return image
}

// FuzzOpen opens hostile files, walks their extents, reads in each, checks them, and makes and uses an index. Nothing may
// panic, and errors must be of a kind that callers know.
func FuzzOpen(f *testing.F) {
	for _, s := range seeds(f) {
		for flags := range byte(4) {
			f.Add(s, flags)
		}
	}
	d := New()
	f.Fuzz(func(t *testing.T, image []byte, flags byte) {
		if flags&1 != 0 {
			image = reseal(append([]byte(nil), image...))
		}
		src := formattest.Bytes(image)
		img, bad := formattest.Hostile(t, d, src, formats.OpenOptions{})
		if img == nil {
			return
		}
		if ix := img.(formats.Indexed); flags&2 != 0 && ix.IndexSize() < 32<<20 {
			readByIndex(t, ix, bad)
		}
	})
}

// readByIndex wants an index to be made of a file in which all can be read, and only of one; by it all can be read, too.
func readByIndex(t *testing.T, img formats.Indexed, bad bool) {
	t.Helper()
	b := make([]byte, 0, img.IndexSize())
	err := img.BuildIndex(t.Context(), func(p []byte) error { b = append(b, p...); return nil })
	formattest.WantKnown(t, err)
	if err != nil {
		return
	}
	if bad {
		t.Error("a read failed in a file of which an index was made")
	}
	if err := img.UseIndex(t.Context(), formattest.Bytes(b)); err != nil {
		t.Fatal(err)
	}
	if formattest.ReadEverywhere(t, img) {
		t.Error("a read failed by an index")
	}
}

// TestFuzzSeedsOpen keeps the seeds from rotting: whole ones must open.
func TestFuzzSeedsOpen(t *testing.T) {
	for i, s := range seeds(t) {
		_, err := New().Open(t.Context(), formattest.Bytes(s), formats.OpenOptions{})
		if whole := i%3 == 0; (err == nil) != whole {
			t.Errorf("seed %d: %v", i, err)
		}
		if len(s) > 64<<10 {
			t.Errorf("seed %d has %d bytes", i, len(s))
		}
	}
}
