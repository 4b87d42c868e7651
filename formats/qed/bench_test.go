package qed

import (
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

func BenchmarkRead(b *testing.B) {
	bld := build{size: 16 << 20, cluster: 64 << 10, tableSize: 4}
	for ci := range int64(256) {
		bld.data = append(bld.data, ci^1) // no two follow one another in the file
	}
	image, disk := bld.image()
	img := openSource(b, formattest.Bytes(image))
	p := make([]byte, 2<<20)
	b.SetBytes(disk.Bytes)
	b.ReportAllocs()
	for b.Loop() {
		for off := int64(0); off < disk.Bytes; off += int64(len(p)) {
			if err := img.ReadAt(b.Context(), p, off); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkOpen opens a disk of 1 TiB, and looks through the whole of it: 512 L2 tables of 256 KiB each.
func BenchmarkOpen(b *testing.B) {
	bld := build{size: 1 << 40, cluster: 64 << 10, tableSize: 4}
	for l1 := range int64(512) {
		bld.zero = append(bld.zero, l1<<15)
	}
	image, _ := bld.image()
	for _, what := range []string{"open", "extents"} {
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				img := openSource(b, formattest.Bytes(image))
				if what == "open" {
					continue
				}
				for _, err := range formats.Extents(b.Context(), img, 0, 1<<40) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
