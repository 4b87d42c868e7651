package zvhd

import (
	"errors"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// seeds are small images, whole and cut.
func seeds(t testing.TB) (images [][]byte) {
	t.Helper()
	part := func(off, n int64) formattest.Part { return formattest.Part{Off: off, Data: pattern(off, n)} }
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
		damage := 0
		wantKnown(t, d.Check(t.Context(), src, formats.OpenOptions{}, func(p formats.Problem) {
			if !p.Leak {
				damage++
			}
		}))
		img, err := formats.Set{Drivers: []formats.Driver{d}}.Open(t.Context(), src, name, formats.OpenOptions{})
		wantKnown(t, err)
		if err != nil {
			if damage == 0 && errors.Is(err, formats.ErrCorrupt) {
				t.Errorf("check finds nothing wrong and open says %v", err)
			}
			return
		}
		bad := readEverywhere(t, img)
		if bad && damage == 0 {
			t.Error("a read failed in a file in which check finds nothing wrong")
		}
		if ix := img.(formats.Indexed); flags&2 != 0 && ix.IndexSize() < 32<<20 {
			readByIndex(t, ix, bad)
		}
	})
}

func wantKnown(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, formats.ErrCorrupt) && !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an error of no known kind: %v", err)
	}
}

// readEverywhere reads at the start and the end of the first extents.
func readEverywhere(t *testing.T, img formats.Image) (failed bool) {
	t.Helper()
	p, seen := make([]byte, 512), 0
	for e, err := range formats.Extents(t.Context(), img, 0, img.Info().Size) {
		if seen++; err != nil || seen > 20 {
			wantKnown(t, err)
			return failed || err != nil
		}
		for _, off := range []int64{e.Off, e.End() - 512} {
			if err := img.ReadAt(t.Context(), p, off); err != nil {
				wantKnown(t, err)
				failed = true
			}
		}
	}
	return failed
}

// readByIndex wants an index to be made of a file in which all can be read, and only of one; by it all can be read, too.
func readByIndex(t *testing.T, img formats.Indexed, bad bool) {
	t.Helper()
	b := make([]byte, 0, img.IndexSize())
	err := img.BuildIndex(t.Context(), func(p []byte) error { b = append(b, p...); return nil })
	wantKnown(t, err)
	if err != nil {
		return
	}
	if bad {
		t.Error("a read failed in a file of which an index was made")
	}
	if err := img.UseIndex(t.Context(), formattest.Bytes(b)); err != nil {
		t.Fatal(err)
	}
	if readEverywhere(t, img) {
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
