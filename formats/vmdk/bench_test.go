package vmdk

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// terabyte is a file of a 1 TiB disk all of whose grains are stored, as far as its tables tell.
func terabyte() formats.Source {
	const size = 1 << 40
	h := header{
		version: 1, flags: flagNewline, capacity: size / sector, grainSize: 128, descriptorOffset: 1, descriptorSize: 20,
		numGTEsPerGT: 512, gdOffset: 128, overHead: 1 << 18, newlines: [4]byte([]byte(newlines)),
	}
	tables := int64(h.tables())
	directory, all := make([]byte, tables*4), make([]byte, tables*2048)
	for j := range tables {
		binary.LittleEndian.PutUint32(directory[j*4:], uint32(1024+j*4))
	}
	for g := range tables * 512 {
		binary.LittleEndian.PutUint32(all[g*4:], uint32(1<<18+g*128))
	}
	return formattest.Sparse{Bytes: size + 1<<27, Parts: []formattest.Part{
		{Off: 0, Data: h.encode()}, {Off: sector, Data: []byte(ownDescriptor("monolithicSparse", size))}, {Off: 128 * sector, Data: directory}, {Off: 1024 * sector, Data: all},
	}}
}

func BenchmarkOpen(b *testing.B) {
	src := terabyte()
	d := New()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Open(b.Context(), src, formats.OpenOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMap walks all 16 Mi grains of a disk.
func BenchmarkMap(b *testing.B) {
	img := openSource(b, terabyte(), nil)
	for b.Loop() {
		n := 0
		for _, err := range formats.Extents(b.Context(), img, 0, 1<<40) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 1 {
			b.Fatal(n)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	src := terabyte()
	for b.Loop() {
		err := New().Check(b.Context(), src, formats.OpenOptions{}, func(p formats.Problem) { b.Errorf("%+v", p) })
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	const size = 16 << 20
	for _, compressed := range []bool{false, true} {
		s := spec{disk: formattest.Flat(formattest.Prose(size)), grain: 64 << 10, gtes: 512, plainTables: !compressed, compressed: compressed, descriptor: ownDescriptor("x", size)}
		img := openSource(b, formattest.Bytes(s.build()), nil)
		for _, n := range []int64{1 << 20, 64 << 10, 4096} {
			b.Run(fmt.Sprintf("compressed=%v/%dKiB", compressed, n>>10), func(b *testing.B) {
				p := make([]byte, n)
				b.SetBytes(n)
				b.ReportAllocs()
				for i := int64(0); b.Loop(); i++ {
					if err := img.ReadAt(b.Context(), p, i*n%size); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkEncode runs on as many goroutines as there are processors: compare with -cpu 1,2.
func BenchmarkEncode(b *testing.B) {
	plain := formattest.Prose(16 * grainBytes)
	for _, level := range []int{1, 6, 9} {
		b.Run(fmt.Sprintf("level-%d", level), func(b *testing.B) {
			e, err := New().Create(1<<30, formats.CreateOptions{Level: level, Set: map[string]string{subformatOption: streamOptimized}})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(grainBytes)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				var dst []byte
				for i := int64(0); pb.Next(); i++ {
					if dst, err = e.Encode(dst, plain[i%16*grainBytes:][:grainBytes], i%16); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
