package zvhd

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/formats/zstream"
)

func noise(n int) []byte {
	rnd, b := rand.New(rand.NewPCG(3, 5)), make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// blocksOf lists the blocks that a disk's parts touch.
func blocksOf(disk formattest.Disk) []int64 {
	var blocks []int64
	for _, p := range disk.Parts {
		for b := p.Off / blockSize; b*blockSize < p.End(); b++ {
			blocks = append(blocks, b)
		}
	}
	return slices.Compact(blocks)
}

func newEncoder(t testing.TB, size int64, opts formats.CreateOptions) *encoder {
	t.Helper()
	e, err := New().Create(size, opts)
	if err != nil {
		t.Fatal(err)
	}
	return e.(*encoder)
}

// writeImage writes a disk as a caller of Encoder does. Its original_size is where the data end, its current_size must be
// the disk's.
func writeImage(t testing.TB, disk formattest.Disk, opts formats.CreateOptions) []byte {
	t.Helper()
	size := int64(512)
	if n := len(disk.Parts); n > 0 {
		size = zstream.RoundUp(disk.Parts[n-1].End(), 512)
	}
	e := newEncoder(t, size, opts)
	if e.header.CurrentSize != uint64(disk.Bytes) {
		t.Fatalf("current_size is %d, the disk has %d bytes", e.header.CurrentSize, disk.Bytes)
	}
	return writeWith(t, e, disk)
}

func writeWith(t testing.TB, e *encoder, disk formattest.Disk) []byte {
	t.Helper()
	var dst formattest.Memory
	var before []byte
	plain := make([]byte, blockSize)
	for _, block := range blocksOf(disk) {
		disk.Fill(plain, block*blockSize)
		chunk, err := e.EncodeAfter(nil, plain, block, before)
		if err != nil {
			t.Fatal(err)
		}
		before = slices.Clone(plain[blockSize-e.Reach():])
		put(t, e, &dst, block, chunk)
	}
	if err := e.Finish(t.Context(), &dst); err != nil {
		t.Fatal(err)
	}
	return dst.B
}

func put(t testing.TB, e *encoder, dst *formattest.Memory, block int64, chunk []byte) {
	t.Helper()
	off, err := e.Place(block, len(chunk))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dst.WriteAt(chunk, off); err != nil {
		t.Fatal(err)
	}
}

// smallDisk has stored blocks next to each other and apart, of data that compress well, badly and not at all. It is mostly zeros, as the
// race detector makes decoding anything else slow.
func smallDisk() formattest.Disk {
	return formattest.Disk{Bytes: 1 << 30, Parts: []formattest.Part{
		{Off: 2<<20 - 300_000, Data: formattest.Prose(700_000)},
		{Off: 9<<20 + 300_000, Data: noise(150_000)},
		{Off: 30<<20 - 1000, Data: formattest.Pattern(30<<20-1000, 300_000)},
		{Off: 48 << 20, Data: formattest.Pattern(48<<20, 4096)},
	}}
}

// refsOf reads the chunks of a good image.
func refsOf(t testing.TB, image []byte) []ref {
	t.Helper()
	d := newWalked(formattest.Bytes(image), 1<<32)
	for i := int64(0); ; i++ {
		if _, ok, err := d.at(t.Context(), i); err != nil {
			t.Fatal(err)
		} else if !ok {
			return slices.Concat(d.pages...)
		}
	}
}

// poke sets the named field of the header at an offset to a value and makes its checksum right again.
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

// seal makes the checksum of the header at an offset right.
func seal(image []byte, at int64) {
	binary.LittleEndian.PutUint32(image[at+64:], zstream.Sum(image[at:]))
}
