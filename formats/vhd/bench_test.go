package vhd

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// BenchmarkOpen opens disks of 1 TiB: one with a table of 2 MiB, and one in blocks of 4 KiB, with a table of 1 GiB.
func BenchmarkOpen(b *testing.B) {
	for _, blockSize := range []uint32{2 << 20, 4096} {
		b.Run(fmt.Sprintf("%dKiB-blocks", blockSize>>10), func(b *testing.B) {
			d := &builder{kind: typeDynamic, size: 1 << 40, blockSize: blockSize}
			f, h := d.parts()
			end := 1536 + int64(h.maxTableEntries)*entrySize
			src := formattest.Sparse{Bytes: end + 512, Parts: []formattest.Part{
				{Off: 0, Data: append(f.encode(), h.encode()...)}, {Off: 1536, Data: bytes.Repeat([]byte{0xff}, pageSize)}, {Off: end, Data: f.encode()},
			}}
			b.ReportAllocs()
			for b.Loop() {
				img, err := Driver{}.Open(b.Context(), src, formats.OpenOptions{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := img.Extent(b.Context(), 0, 1<<40); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	const blocks = 8
	d := &builder{kind: typeDynamic, size: blocks * newBlockSize, blockSize: newBlockSize}
	for i := range int64(blocks) {
		d.blocks = append(d.blocks, patterned(i, newBlockSize))
	}
	diff := *d
	diff.kind = typeDifferencing
	for name, d := range map[string]*builder{"dynamic": d, "differencing": &diff} {
		img := openImage(b, d.build())
		for _, n := range []int64{newBlockSize, 4096} {
			b.Run(fmt.Sprintf("%s/%dKiB", name, n>>10), func(b *testing.B) {
				p := make([]byte, n)
				b.SetBytes(n)
				b.ReportAllocs()
				for i := int64(0); b.Loop(); i++ {
					if err := img.ReadAt(b.Context(), p, i%blocks*newBlockSize); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
