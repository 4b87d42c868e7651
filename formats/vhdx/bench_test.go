package vhdx

import (
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// BenchmarkOpen opens a disk of 1 TiB in the smallest blocks, whose BAT has 8 MiB.
func BenchmarkOpen(b *testing.B) {
	d := disk{size: 1 << 40, blockSize: mib, sector: 512}
	f := d.build()
	f.regions(region{batRegion, 4 * mib, 9 * mib, true}, region{metadataRegion, builtMetadata, mib, true})
	src := formattest.Sparse{Bytes: 100 * mib, Parts: []formattest.Part{{Data: f.b}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Driver{}).Open(b.Context(), src, formats.OpenOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExtents walks the same disk, all of which is not present.
func BenchmarkExtents(b *testing.B) {
	d := disk{size: 1 << 40, blockSize: mib, sector: 512}
	f := d.build()
	f.regions(region{batRegion, 4 * mib, 9 * mib, true}, region{metadataRegion, builtMetadata, mib, true})
	img := openSource(b, formattest.Sparse{Bytes: 100 * mib, Parts: []formattest.Part{{Data: f.b}}})
	for b.Loop() {
		extents(b, img)
	}
}

// BenchmarkRead reads a whole disk in memory, a MiB at a time: what the driver costs beside the copying.
func BenchmarkRead(b *testing.B) {
	d := disk{size: 32 * mib, blockSize: 2 * mib, sector: 512, blocks: map[int64]block{}}
	for n := range int64(16) {
		d.blocks[n] = block{state: fullyPresent}
	}
	img := openSource(b, formattest.Bytes(d.build().b))
	p := make([]byte, mib)
	b.SetBytes(d.size)
	b.ReportAllocs()
	for b.Loop() {
		for off := int64(0); off < d.size; off += mib {
			if err := img.ReadAt(b.Context(), p, off); err != nil {
				b.Fatal(err)
			}
		}
	}
}
