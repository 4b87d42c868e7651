package vdi

import (
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

func BenchmarkRead(b *testing.B) {
	image, disk := filled(build{size: 16 << 20, entries: []uint32{4, 5, 6, 7, 0, 1, 2, 3, 8, 10, 9, 11, 12, 13, 14, 15}})
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

// BenchmarkOpen opens a disk of 1 TiB, and looks through the whole of its block map.
func BenchmarkOpen(b *testing.B) {
	entries := make([]uint32, 1<<20)
	for i := range entries {
		entries[i] = un
	}
	image := build{size: 1 << 40, entries: entries}.image()
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
