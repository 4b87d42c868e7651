package vhd

import (
	"encoding/binary"
	"testing"
	"unicode/utf16"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// builder makes images as docs/formats/vhd.md has them: copy of the footer, header, BAT, locators, blocks, footer.
type builder struct {
	kind      uint32 // type
	size      int64  // current_size
	app       string // creator_app; "" is "win "
	geometry  geometry
	blockSize uint32
	blocks    []block // in the order of the file
	gap       int64   // alignment of the sectors of a block, 0 for none
	parent    uuid
	name      string // parent_unicode_name
	locators  []parentName
	disk      []byte // of a fixed disk
	change    func(f *footer, h *header)
}

// block is a stored one.
type block struct {
	number int64
	plain  []byte
	bitmap []byte // nil: all ones
}

// parentName is a locator and what it points to.
type parentName struct {
	code string
	text []byte
}

var ownUUID = uuid{0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF}

// parts are footer and header as build writes them.
func (b *builder) parts() (footer, header) {
	f := footer{
		features: 2, version: 0x10000, dataOffset: 512, timestamp: 700_000_000, creatorApp: [4]byte([]byte("win ")), creatorVersion: 0x000A_0000,
		creatorOS: [4]byte([]byte("Wi2k")), originalSize: uint64(b.size), currentSize: uint64(b.size), geometry: geometryOf(b.size), diskType: b.kind, uuid: ownUUID,
	}
	if b.kind == typeFixed {
		f.dataOffset = noOffset
	}
	if b.app != "" {
		copy(f.creatorApp[:], b.app)
	}
	if b.geometry != (geometry{}) {
		f.geometry = b.geometry
	}
	h := header{dataOffset: noOffset, tableOffset: 1536, version: 0x10000, blockSize: b.blockSize, parentUUID: b.parent}
	if b.blockSize > 0 {
		h.maxTableEntries = uint32((b.size + int64(b.blockSize) - 1) / int64(b.blockSize))
	}
	for i, unit := range utf16.Encode([]rune(b.name)) {
		binary.BigEndian.PutUint16(h.parentName[2*i:], unit)
	}
	at := roundUp(1536+int64(h.maxTableEntries)*4, 512)
	for i, l := range b.locators {
		h.locators[i] = locator{code: [4]byte([]byte(l.code)), space: 1, bytes: uint32(len(l.text)), offset: uint64(at)}
		at += 512
	}
	if b.change != nil {
		b.change(&f, &h)
	}
	return f, h
}

func (b *builder) build() []byte {
	f, h := b.parts()
	foot := f.encode()
	if b.kind == typeFixed {
		return append(append([]byte(nil), b.disk...), foot...)
	}
	image := append(append([]byte(nil), foot...), h.encode()...)
	entries := (b.size + int64(b.blockSize) - 1) / int64(b.blockSize)
	bat := make([]byte, roundUp(entries*4, 512))
	for i := range bat {
		bat[i] = 0xff
	}
	image = append(image, bat...)
	for _, l := range b.locators {
		image = append(image, l.text...)
		image = append(image, make([]byte, 512-len(l.text))...)
	}
	for _, s := range b.blocks {
		bitmap := make([]byte, bitmapSize(b.blockSize))
		for i := range bitmap {
			bitmap[i] = 0xff
		}
		if s.bitmap != nil {
			clear(bitmap)
			copy(bitmap, s.bitmap)
		}
		if b.gap > 0 {
			at := roundUp(int64(len(image)+len(bitmap)), b.gap) - int64(len(bitmap))
			image = append(image, make([]byte, at-int64(len(image)))...)
		}
		if s.number < entries {
			binary.BigEndian.PutUint32(image[1536+s.number*4:], uint32(len(image)/512))
		}
		image = append(image, bitmap...)
		image = append(image, s.plain...)
	}
	return append(image, foot...)
}

// model is the disk that build makes of size bytes, the parent's part taken as zeros.
func (b *builder) model(size int64) formattest.Disk {
	disk := make([]byte, size)
	copy(disk, b.disk)
	for _, s := range b.blocks {
		for i := range int64(len(s.plain)) / 512 {
			at := s.number*int64(b.blockSize) + i*512
			if at < size && (s.bitmap == nil || b.kind == typeDynamic || s.bitmap[i/8]>>(7-i%8)&1 != 0) {
				copy(disk[at:], s.plain[i*512:(i+1)*512])
			}
		}
	}
	return formattest.Flat(disk)
}

// patterned is a stored block of pattern.
func patterned(number, size int64) block {
	return block{number: number, plain: formattest.Pattern(number*size, size)}
}

func utf16le(s string) []byte {
	var b []byte
	for _, unit := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return b
}

// openImage opens as the rest of the project does, through formats.Set.
func openImage(t testing.TB, image []byte) formats.Image {
	t.Helper()
	return openSource(t, formattest.Bytes(image))
}

func openSource(t testing.TB, src formats.Source) formats.Image {
	t.Helper()
	img, err := formats.Set{Drivers: []formats.Driver{Driver{}}}.Open(t.Context(), src, "", formats.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// small is a dynamic disk of four blocks of 4 KiB, of which two are stored, out of order.
func small() *builder {
	return &builder{kind: typeDynamic, size: 4*4096 - 512, blockSize: 4096, blocks: []block{patterned(3, 4096), patterned(1, 4096)}}
}

// child is a differencing disk of which some sectors are present.
func child() *builder {
	return &builder{
		kind: typeDifferencing, size: 4 * 8192, blockSize: 8192, parent: uuid{1, 2, 3}, name: `C:\vm\base disk.vhd`,
		locators: []parentName{{"W2ku", utf16le(`C:\vm\base disk.vhd`)}, {"W2ru", utf16le(`.\base disk.vhd`)}},
		blocks: []block{
			{number: 0, plain: formattest.Pattern(0, 8192), bitmap: []byte{0b1010_0001, 0b1111_0000}},
			{number: 1, plain: formattest.Pattern(8192, 8192)},
			{number: 3, plain: formattest.Pattern(3*8192, 8192), bitmap: []byte{0, 0}},
		},
	}
}

func fixedDisk(size int64) *builder {
	return &builder{kind: typeFixed, size: size, disk: formattest.Pattern(0, size)}
}
