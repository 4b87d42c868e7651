package zvhd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/formats/zstream"
)

// openError opens an image that must be refused.
func openError(t *testing.T, image []byte) error {
	t.Helper()
	_, err := New().Open(t.Context(), formattest.Bytes(image), formats.OpenOptions{})
	if err == nil {
		t.Fatal("a hostile image was opened")
	}
	return err
}

// readError reads all of an image, which opens, and must meet an error.
func readError(t *testing.T, image []byte) error {
	t.Helper()
	img := openSource(t, formattest.Bytes(image))
	return readAll(t, img)
}

// readAll reads what an image stores, extent by extent, and returns the first error.
func readAll(t testing.TB, img formats.Image) error {
	p := make([]byte, blockSize)
	for e, err := range formats.Extents(t.Context(), img, 0, img.Info().Size) {
		if err != nil {
			return err
		}
		for off := e.Off; off < e.End() && e.State == formats.Data; off += blockSize {
			if err := img.ReadAt(t.Context(), p[:min(blockSize, e.End()-off)], off); err != nil {
				return err
			}
		}
	}
	return nil
}

// hostileFields are values of header fields that must be refused by the field's name, with a good checksum.
var hostileFields = map[string][]uint64{
	"features":      {0, 1, 3, 1<<32 - 1},
	"data_offset":   {0, 512, 1<<64 - 2},
	"original_size": {0, 1, 16777217, 1<<60 + 512, 1 << 63, 1<<64 - 512},
	"current_size":  {0, 16777216, 1<<30 + 1, 2 << 30, 1 << 60, 1<<64 - 1<<30, 1<<64 - 1},
	"type":          {0, 2, 3, 1<<32 - 1},
}

// unsupportedFields are values that announce a variant which is not read.
var unsupportedFields = map[string][]uint64{"version": {0, 0x00020000, 1<<32 - 1}}

// ignoredFields do not matter to a reader: nothing that is followed depends on them.
var ignoredFields = map[string][]uint64{
	"timestamp": {0, 1<<32 - 1}, "creator_app": {0, 1<<32 - 1}, "creator_version": {0, 0x00010003, 1<<32 - 1},
	"creator_os": {1<<32 - 1}, "geometry": {0, 1<<32 - 1}, "uuid": {0, 1<<64 - 1}, "saved": {1}, "hidden": {1},
	"align_64": {1}, "reserved": {1<<64 - 1},
}

// sealedFields are what checkSeal is about: see TestUnsealedHeader.
var sealedFields = []string{"cookie", "checksum"}

func TestEveryFieldIsRefusedByNameOrIgnored(t *testing.T) {
	good := readFile(t, "tiny.zvhd")
	for _, f := range fields {
		known := len(hostileFields[f.Name]) > 0 || len(unsupportedFields[f.Name]) > 0 || len(ignoredFields[f.Name]) > 0 || slices.Contains(sealedFields, f.Name)
		if !known {
			t.Errorf("no test says what a hostile %s does", f.Name)
		}
	}
	for _, set := range []struct {
		kind   error
		values map[string][]uint64
	}{{formats.ErrCorrupt, hostileFields}, {errors.ErrUnsupported, unsupportedFields}, {nil, ignoredFields}} {
		for _, name := range slices.Sorted(maps.Keys(set.values)) {
			for _, value := range set.values[name] {
				t.Run(fmt.Sprintf("%s/%d", name, value), func(t *testing.T) {
					image := bytes.Clone(good)
					poke(image, 0, name, value)
					if set.kind != nil {
						formattest.WantError(t, openError(t, image), set.kind, name)
						return
					}
					img := openSource(t, formattest.Bytes(image))
					if err := img.ReadAt(t.Context(), make([]byte, 1<<20), 0); err != nil {
						t.Errorf("an ignored field changed reading: %v", err)
					}
				})
			}
		}
	}
}

func TestErrorsNameTheFieldsOffset(t *testing.T) {
	image := readFile(t, "tiny.zvhd")
	poke(image, 0, "type", 3)
	formattest.WantError(t, openError(t, image), formats.ErrCorrupt, "at 0x3c", "type is 3", "must be 4")
	clear(image[:unit]) // then the copy counts
	at := int64(len(image)) - unit
	poke(image, at, "type", 3)
	formattest.WantError(t, openError(t, image), formats.ErrCorrupt, fmt.Sprintf("at %#x", at+60), "type is 3")
}

// Where things are in tiny.zvhd: chunks of blocks 0, 1, 2, 4, 5, 7 and the copy of the header.
const (
	tinyBlock1 = 0x54000
	tinyBlock2 = 0x63000
	tinyBlock4 = 0x72000
	tinyBlock5 = 0x75000
	tinyBlock7 = 0x78000
	tinyCopy   = 0x7b000
)

func TestUnsealedHeader(t *testing.T) {
	good := readFile(t, "tiny.zvhd")
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		words  []string
	}{
		{"both cookies", func(b []byte) []byte { b[0], b[tinyCopy] = 0, 0; return b }, []string{"header: cookie", "copy", "cookie is"}},
		{"both checksums", func(b []byte) []byte { b[64]++; b[tinyCopy+64]++; return b }, []string{"header: checksum", "copy", "checksum is"}},
		{"cut before the copy", func(b []byte) []byte { return b[:tinyCopy] }, []string{"truncated", "6 chunks"}},
		{"cut in the copy", func(b []byte) []byte { return b[:tinyCopy+unit-1] }, []string{"truncated", "6 chunks"}},
		{"cut in a chunk", func(b []byte) []byte { return b[:tinyBlock7-1] }, []string{"truncated", "4 chunks"}},
		{"cut in the first", func(b []byte) []byte { return b[:4200] }, []string{"truncated", "0 chunks"}},
		{"header only", func(b []byte) []byte { return b[:4096] }, []string{"truncated", "0 chunks"}},
		{"half a header", func(b []byte) []byte { return b[:600] }, []string{"truncated", "0 chunks"}},
		{"shorter than a header", func(b []byte) []byte { return b[:511] }, []string{"the file has 511 bytes"}},
		{"garbage for the copy", func(b []byte) []byte { copy(b[tinyCopy:], "garbage"); return b }, []string{"truncated or its end is damaged", "6 chunks"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			formattest.WantError(t, openError(t, c.change(bytes.Clone(good))), formats.ErrCorrupt, c.words...)
		})
	}
}

// TestOpeningAFileWithoutItsEndIsBounded has as many chunks of one unit as opening would walk, and more.
func TestOpeningAFileWithoutItsEndIsBounded(t *testing.T) {
	src := &formattest.Counting{Source: endless(newEncoder(t, 1<<40, formats.CreateOptions{}).header)}
	_, err := New().Open(t.Context(), src, formats.OpenOptions{})
	formattest.WantError(t, err, formats.ErrCorrupt, "truncated", fmt.Sprintf("%d chunks", maxOpenWalk+1), "not looked at")
	if src.Calls() > maxOpenWalk+10 {
		t.Errorf("%d reads", src.Calls())
	}
}

// endless is a header and a TiB of chunks of one unit, with ascending numbers.
type endless header

func (endless) Size() int64 { return 1 << 40 }

func (e endless) ReadAt(_ context.Context, p []byte, off int64) error {
	if off == 0 {
		copy(p, (*header)(&e).encode())
		return nil
	}
	copy(p, zstream.EncodeChunk(make([]byte, zstream.ChunkHeaderSize), uint32(off/unit-1)))
	return nil
}

func TestOldChecksumQuirk(t *testing.T) {
	for _, c := range []struct {
		version uint64
		app     string
		want    bool
	}{{0x0000_0001, "tap", true}, {0x0001_0001, "tap", true}, {0x0001_0004, "tap", false}, {0x0001_0001, "tip", false}} {
		image := readFile(t, "tiny.zvhd")
		image[tinyCopy] = 0 // or it would be read by its copy
		image = append(image, bytes.Clone(image[:unit])...)
		copy(image[28:], c.app)
		poke(image, 0, "creator_version", c.version)
		image[85] = 1 // hidden, set after the checksum was made
		_, err := New().Open(t.Context(), formattest.Bytes(image[:tinyCopy]), formats.OpenOptions{})
		if got := !strings.Contains(err.Error(), "header: checksum"); got != c.want {
			t.Errorf("creator %s %#x: %v, want it accepted: %v", c.app, c.version, err, c.want)
		}
	}
}

// rechain makes an image of these payloads, one a block, as they are.
func rechain(t testing.TB, size int64, payloads ...[]byte) []byte {
	t.Helper()
	e := newEncoder(t, size, formats.CreateOptions{})
	var dst formattest.Memory
	for i, p := range payloads {
		put(t, e, &dst, int64(i), zstream.EncodeChunk(append(make([]byte, zstream.ChunkHeaderSize), p...), uint32(i)))
	}
	if err := e.Finish(t.Context(), &dst); err != nil {
		t.Fatal(err)
	}
	return dst.B
}

// TestHostileChunks damages chunks of tiny.zvhd: it opens, as no chunk is looked at, and the read that needs the chunk fails.
func TestHostileChunks(t *testing.T) {
	le := binary.LittleEndian
	for _, c := range []struct {
		name   string
		change func(b []byte)
		words  []string // none: the change is ignored
	}{
		{"cookie", func(b []byte) { b[tinyBlock1] = 'H' }, []string{"at 0x54000", "cookie"}},
		{"cookie's zero", func(b []byte) { b[tinyBlock1+11] = 1 }, []string{"cookie"}},
		{"cookie of a header too early", func(b []byte) { copy(b[tinyBlock7:], cookie) }, nil},
		{"compressed size 0", func(b []byte) { le.PutUint32(b[tinyBlock7+12:], 0) }, []string{"at 0x79000", "cookie"}},
		{"compressed size, less", func(b []byte) { le.PutUint32(b[tinyBlock7+12:], 9523) }, []string{"block 7", "deflate"}},
		{"compressed size, more", func(b []byte) { le.PutUint32(b[tinyBlock7+12:], 9525) }, []string{"block 7", "deflate"}},
		{"compressed size after the file", func(b []byte) { le.PutUint32(b[tinyBlock7+12:], 20000) }, []string{"block 7", "compressed size is 20000"}},
		{"compressed size 2^32-1", func(b []byte) { le.PutUint32(b[tinyBlock7+12:], 1<<32-1) }, []string{"compressed size is 4294967295"}},
		{"compressed size to the end", func(b []byte) { le.PutUint32(b[tinyBlock7+12:], 4*unit-52) }, []string{"truncated"}},
		{"block number twice", func(b []byte) { le.PutUint32(b[tinyBlock5+16:], 4) }, []string{"at 0x75000", "block 4", "ascend"}},
		{"block number going back", func(b []byte) { le.PutUint32(b[tinyBlock5+16:], 3) }, []string{"block 3", "ascend"}},
		{"block number after the disk", func(b []byte) { le.PutUint32(b[tinyBlock7+16:], 8) }, []string{"block 8", "the disk has 8 blocks"}},
		{"block number 2^32-1", func(b []byte) { le.PutUint32(b[tinyBlock7+16:], 1<<32-1) }, []string{"block 4294967295"}},
		{"trailer", func(b []byte) { b[tinyBlock2-1] = 1 }, []string{"block 1", "last four bytes"}},
		{"zlib method", func(b []byte) { b[unit+zstream.ChunkHeaderSize] = 0x77 }, []string{"block 0", "zlib header: the method"}},
		{"zlib window", func(b []byte) { b[unit+zstream.ChunkHeaderSize] = 0x88 }, []string{"block 0", "zlib header: the method"}},
		{"zlib check", func(b []byte) { b[unit+zstream.ChunkHeaderSize+1] = 2 }, []string{"block 0", "zlib header", "31"}},
		{"zlib dictionary", func(b []byte) { b[unit+zstream.ChunkHeaderSize+1] = 0x20 }, []string{"block 0", "zlib header", "dictionary"}},
		{"a bit of deflate", func(b []byte) { b[tinyBlock4+zstream.ChunkHeaderSize] ^= 6 }, []string{"block 4", "deflate"}},
		{"compressed flag", func(b []byte) { b[tinyBlock4+20] = 1 }, nil},
		{"original size", func(b []byte) { le.PutUint32(b[tinyBlock4+24:], 1) }, nil},
		{"padding", func(b []byte) { b[tinyBlock5-5] ^= 0xff }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := readFile(t, "tiny.zvhd")
			c.change(image)
			err := readError(t, image)
			if len(c.words) == 0 {
				if err != nil {
					t.Errorf("an ignored change: %v", err)
				}
				return
			}
			formattest.WantError(t, err, formats.ErrCorrupt, append(c.words, "zvhd: at 0x")...)
		})
	}
}

// TestHostileStreams are payloads that are no pieces of one stream.
func TestHostileStreams(t *testing.T) {
	plain := make([]byte, 2*blockSize)
	copy(plain[blockSize-100_000:], formattest.Prose(200_000))
	e := newEncoder(t, 1<<30, formats.CreateOptions{})
	piece := func(b, before []byte) []byte { return e.deflate.Encode(nil, b, before) }
	head := []byte{0x78, 0x9c}
	first := append(head, piece(plain[:blockSize], nil)...)
	second := piece(plain[blockSize:], plain[:blockSize])
	final := append(bytes.Clone(first), 0x03, 0x00) // an empty final block
	for _, c := range []struct {
		name     string
		payloads [][]byte
		words    []string // none: it is right
	}{
		{"right", [][]byte{first, second}, nil},
		{"nothing", [][]byte{{}, second}, []string{"block 0", "zlib header"}},
		{"no zlib header", [][]byte{first[2:], second}, []string{"block 0", "zlib header"}},
		{"a second zlib header", [][]byte{first, append(head, second...)}, []string{"block 1", "deflate"}},
		{"a finished stream", [][]byte{final, second}, []string{"block 0", "must go on"}},
		{"no sync flush", [][]byte{first[:len(first)-4], second}, []string{"block 0"}},
		{"half a sync flush", [][]byte{first[:len(first)-1], second}, []string{"block 0", "between two blocks"}},
		{"a byte after the flush", [][]byte{append(bytes.Clone(first), 0), second}, []string{"block 0", "between two blocks"}},
		{"short", [][]byte{append(head, piece(plain[:blockSize-1], nil)...), second}, []string{"block 0", "2097151 bytes"}},
		{"long", [][]byte{append(head, piece(plain[:blockSize+1], nil)...), second}, []string{"block 0", "more than"}},
		{"a bomb", [][]byte{append(head, piece(make([]byte, 16<<20), nil)...), second}, []string{"block 0", "more than"}},
		{"a second flush is fine", [][]byte{append(bytes.Clone(first), 0, 0, 0, 0xff, 0xff), second}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := rechain(t, 1<<30, c.payloads...)
			err := readError(t, image)
			if len(c.words) == 0 && err == nil {
				return
			}
			formattest.WantError(t, err, formats.ErrCorrupt, c.words...)
			img := openIndexed(t, formattest.Bytes(image))
			formattest.WantError(t, img.BuildIndex(t.Context(), func([]byte) error { return nil }), formats.ErrCorrupt, c.words...)
		})
	}
}

// TestNothingInFrontOfTheStream: a reference to before the first byte is an error, not zeros.
func TestNothingInFrontOfTheStream(t *testing.T) {
	plain := make([]byte, 2*blockSize)
	copy(plain[blockSize-100_000:], formattest.Prose(200_000))
	e := newEncoder(t, 1<<30, formats.CreateOptions{})
	image := rechain(t, 1<<30, append([]byte{0x78, 0x9c}, e.deflate.Encode(nil, plain[blockSize:], plain[:blockSize])...))
	formattest.WantError(t, readError(t, image), formats.ErrCorrupt, "block 0", "deflate")
}

// TestBlocksBehindDamageAreNotGuessed reads one whose window is lost.
func TestBlocksBehindDamageAreNotGuessed(t *testing.T) {
	image := readFile(t, "tiny.zvhd")
	image[tinyBlock1+zstream.ChunkHeaderSize] ^= 6
	img := openSource(t, formattest.Bytes(image))
	p := make([]byte, 4096)
	formattest.WantError(t, img.ReadAt(t.Context(), p, 7*blockSize), formats.ErrCorrupt, "block 1")
	if err := img.ReadAt(t.Context(), p, 0); err != nil {
		t.Errorf("the block before the damage: %v", err)
	}
}
