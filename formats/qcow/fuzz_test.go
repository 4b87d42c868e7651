package qcow

import (
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
		formattest.Hostile(t, d, src, formats.OpenOptions{})
	})
}
