package qcow

import (
	"bytes"
	"errors"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// FuzzOpen opens hostile files, walks their extents, reads in each and checks them. Nothing may panic, and errors
// must be of a kind that callers know. The file is as long as what it begins with, and zeros behind it.
func FuzzOpen(f *testing.F) {
	for _, bits := range [][2]uint8{{9, 6}, {10, 6}} {
		b := build(f, bits[0], bits[1], 100<<bits[0])
		b.data(0, pattern(0, 1<<bits[0]))
		b.compressed(1, pattern(1, 1<<bits[0]))
		b.compressed(90, pattern(1, 1<<bits[0]))
		f.Add(b.image, uint16(0))
		f.Add(b.image[:len(b.image)/2], uint16(3000))
	}
	d := New()
	f.Fuzz(func(t *testing.T, image []byte, zeros uint16) {
		src := formattest.Sparse{Bytes: int64(len(image)) + int64(zeros), Parts: []formattest.Part{{Data: image}}}
		damage := 0
		err := d.Check(t.Context(), src, formats.OpenOptions{}, func(p formats.Problem) {
			if !p.Leak {
				damage++
			}
		})
		wantKnown(t, err)
		img, err := formats.Set{Drivers: []formats.Driver{d}}.Open(t.Context(), src, name, formats.OpenOptions{})
		wantKnown(t, err)
		if err == nil && readEverywhere(t, img) && damage == 0 {
			t.Error("a read failed in a file in which check finds nothing wrong")
		}
	})
}

// readEverywhere reads at both ends of the first extents, and tells whether anything failed.
func readEverywhere(t *testing.T, img formats.Image) (failed bool) {
	size, seen := img.Info().Size, 0
	for off := int64(0); off < size && seen < 50; seen++ {
		e, err := img.Extent(t.Context(), off, size-off)
		wantKnown(t, err)
		if err != nil { // the next cluster may be better
			failed = true
			off = off - off%img.Info().ClusterSize + img.Info().ClusterSize
			continue
		}
		for _, at := range []int64{e.Off, max(e.Off, e.End()-512)} {
			p := make([]byte, min(512, e.End()-at))
			err := img.ReadAt(t.Context(), p, at)
			wantKnown(t, err)
			failed = failed || err != nil
			if err == nil && e.State != formats.Data && !bytes.Equal(p, make([]byte, len(p))) {
				t.Errorf("%v reads as something else than zeros", e)
			}
		}
		off = e.End()
	}
	return failed
}

func wantKnown(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, formats.ErrCorrupt) && !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an error of no known kind: %v", err)
	}
}
