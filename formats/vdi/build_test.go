package vdi

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// build is a VDI file to be made. Blocks stand in the file as entries say; the zero values of the rest are usual.
type build struct {
	size      int64
	blockSize int64 // 0 is 1 MiB
	imageType uint32
	entries   []uint32
	blocks    [][]byte // of the file, at most blockSize each; the last is not padded
	fields    map[int64]uint32
}

var imageID = uuid{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}

const imageIDText = "00112233-4455-6677-8899-aabbccddeeff"

const mapAt = 0x200

func (b build) image() []byte {
	if b.blockSize == 0 {
		b.blockSize = 1 << 20
	}
	if b.imageType == 0 {
		b.imageType = typeDynamic
	}
	data := (mapAt + len(b.entries)*4 + 511) / 512 * 512
	out := make([]byte, data)
	copy(out, "<<< a test's Disk Image >>>\n")
	copy(out[0x54:], "a description")
	le := binary.LittleEndian
	allocated := uint32(0)
	for i, e := range b.entries {
		le.PutUint32(out[mapAt+4*i:], e)
		if e < 0xffff_fffe {
			allocated++
		}
	}
	for at, v := range map[int64]uint32{
		0x40: 0xbeda107f, 0x44: 0x10001, 0x48: 0x180, 0x4c: b.imageType, 0x154: mapAt, 0x158: uint32(data), 0x168: 512,
		0x170: uint32(b.size), 0x174: uint32(b.size >> 32), 0x178: uint32(b.blockSize), 0x180: uint32(len(b.entries)), 0x184: allocated,
	} {
		le.PutUint32(out[at:], v)
	}
	copy(out[0x188:], imageID[:])
	for at, v := range b.fields {
		le.PutUint32(out[at:], v)
	}
	for i, p := range b.blocks {
		out = append(out, p...)
		if i < len(b.blocks)-1 {
			out = append(out, make([]byte, b.blockSize-int64(len(p)))...)
		}
	}
	return out
}

// filled is an image with the given entries, its blocks filled with the pattern, and the disk that it must read as.
func filled(b build) ([]byte, formattest.Disk) {
	if b.blockSize == 0 {
		b.blockSize = 1 << 20
	}
	disk := formattest.Disk{Bytes: (b.size + 511) / 512 * 512}
	for ci, e := range b.entries {
		if e >= 0xffff_fffe {
			continue
		}
		off := int64(ci) * b.blockSize
		p := formattest.Pattern(off, b.blockSize)
		for int(e) >= len(b.blocks) {
			b.blocks = append(b.blocks, nil)
		}
		b.blocks[e] = p
		p = p[:max(0, min(b.blockSize, disk.Bytes-off))]
		if n := len(disk.Parts); n > 0 && disk.Parts[n-1].End() == off {
			disk.Parts[n-1].Data = append(disk.Parts[n-1].Data, p...)
		} else {
			disk.Parts = append(disk.Parts, formattest.Part{Off: off, Data: slices.Clone(p)})
		}
	}
	return b.image(), disk
}

func openSource(t testing.TB, src formats.Source) formats.Image {
	t.Helper()
	img, err := formats.Set{Drivers: []formats.Driver{Driver{}}}.Open(t.Context(), src, name, formats.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func problems(t testing.TB, src formats.Source) []formats.Problem {
	t.Helper()
	return formattest.Problems(t, Driver{}, src, formats.OpenOptions{})
}
