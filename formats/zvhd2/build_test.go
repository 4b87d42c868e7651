package zvhd2

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/formats/zstream"
)

// blocksOf lists the blocks that a disk's parts touch.
func blocksOf(disk formattest.Disk) []int64 {
	var blocks []int64
	for _, p := range disk.Parts {
		for b := p.Off / defaultBlockSize; b*defaultBlockSize < p.End(); b++ {
			blocks = append(blocks, b)
		}
	}
	return slices.Compact(blocks)
}

func newEncoder(t testing.TB, size int64, opts formats.CreateOptions) formats.Encoder {
	t.Helper()
	e, err := newDriver().Create(size, opts)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// writeImage writes a disk as a caller of Encoder does.
func writeImage(t testing.TB, disk formattest.Disk, opts formats.CreateOptions) []byte {
	t.Helper()
	e := newEncoder(t, disk.Bytes, opts)
	var dst formattest.Memory
	plain := make([]byte, defaultBlockSize)
	for _, block := range blocksOf(disk) {
		disk.Fill(plain, block*defaultBlockSize)
		chunk, err := e.Encode(nil, plain, block)
		if err != nil {
			t.Fatal(err)
		}
		off, err := e.Place(block, len(chunk))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dst.WriteAt(chunk, off); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Finish(t.Context(), &dst); err != nil {
		t.Fatal(err)
	}
	return dst.B
}

// finalFooter decodes the last unit of an image.
func finalFooter(image []byte) footer { return decodeFooter(image[len(image)-unit:]) }

// refsOf reads the index of a good image.
func refsOf(t testing.TB, image []byte) []ref {
	t.Helper()
	f := finalFooter(image)
	tables, err := load(t.Context(), formattest.Bytes(image), &f, int64(len(image)-unit))
	if err != nil {
		t.Fatal(err)
	}
	return tables.refs
}

// poke sets the named field of the footer at an offset to a value and makes its checksum right again.
func poke(image []byte, at int64, name string, value uint64) {
	for _, f := range fields {
		if f.Name != name {
			continue
		}
		b := image[at+int64(f.Off):]
		switch f.Size {
		case 1:
			b[0] = byte(value)
		case 4:
			binary.LittleEndian.PutUint32(b, uint32(value))
		default:
			binary.LittleEndian.PutUint64(b, value)
		}
	}
	seal(image, at)
}

// seal makes the checksum of the footer at an offset right.
func seal(image []byte, at int64) {
	binary.LittleEndian.PutUint32(image[at+64:], zstream.Sum(image[at:]))
}
