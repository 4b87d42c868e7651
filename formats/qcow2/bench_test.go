package qcow2

import (
	"fmt"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

func BenchmarkRead(b *testing.B) {
	const bits, clusters = 16, 64
	text := formattest.Prose(clusters << bits)
	for _, kind := range []string{"plain", "zlib", "zstd"} {
		var features uint64
		if kind == "zstd" {
			features = incompatCompression
		}
		image := build(b, 3, bits, features, clusters<<bits)
		for ci := range int64(clusters) {
			p := text[ci<<bits : (ci+1)<<bits]
			if kind == "plain" {
				image.data(ci, p)
			} else {
				image.compressed(ci, p)
			}
		}
		img := formattest.Open(b, newDriver(), image.bytes(), formats.OpenOptions{})
		for _, n := range []int{1 << 20, 4096} {
			b.Run(fmt.Sprintf("%s/%dKiB", kind, n>>10), func(b *testing.B) {
				p := make([]byte, n)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if err := img.ReadAt(b.Context(), p, int64(i*n%len(text))); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// terabyte is an image of 1 TiB in whose L1 table every entry refers to the one L2 table.
func terabyte(t testing.TB, clusterBits uint32) formats.Source {
	image := build(t, 3, clusterBits, 0, 1<<40)
	g := image.h.geometry()
	l1 := make([]byte, g.l1Entries(1<<40)*8)
	for i := 0; i < len(l1); i += 8 {
		put64(l1, i, builtL2<<clusterBits)
	}
	image.h.l1Table = uint64(image.add(nil))
	image.h.l1Size = uint32(len(l1) / 8)
	head := image.bytes()
	off := int64(len(head))
	return formattest.Sparse{Bytes: off + int64(len(l1)), Parts: []formattest.Part{{Off: 0, Data: head}, {Off: off, Data: l1}}}
}

func BenchmarkOpen(b *testing.B) {
	for _, bits := range []uint32{9, 16, 21} {
		src := terabyte(b, bits)
		b.Run(fmt.Sprintf("1TiB/%d", 1<<bits), func(b *testing.B) {
			d := newDriver()
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
		})
	}
}
