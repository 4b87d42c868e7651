package qcow

import (
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

func BenchmarkOpen(b *testing.B) {
	image := build(b, 12, 9, 512)
	put64(image.image, offSize, 1<<40)
	put64(image.image, offL1Table, 1<<20)
	src := formattest.Sparse{Bytes: 1 << 30, Parts: []formattest.Part{{Data: image.image}}}
	d := New()
	b.ReportAllocs()
	for b.Loop() {
		img, err := d.Open(b.Context(), src, formats.OpenOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if err := img.ReadAt(b.Context(), make([]byte, 512), 1<<40-512); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	const clusters = 256
	image := build(b, 12, 9, clusters<<12)
	for ci := range int64(clusters) {
		image.compressed(ci, pattern(ci, 1<<12))
	}
	img := formattest.Open(b, New(), image.image, formats.OpenOptions{})
	p := make([]byte, clusters<<12)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if err := img.ReadAt(b.Context(), p, 0); err != nil {
			b.Fatal(err)
		}
	}
}
