package zvhd2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/formats/zstream"
)

// openError opens an image that must be refused.
func openError(t *testing.T, image []byte) error {
	t.Helper()
	_, err := newDriver().Open(t.Context(), formattest.Bytes(image), formats.OpenOptions{})
	if err == nil {
		t.Fatal("a hostile image was opened")
	}
	return err
}

// hostileFields are values of final footer fields that must be refused by the field's name, in an otherwise
// good file with a good checksum.
var hostileFields = map[string][]uint64{
	"features":                {0, 1, 3, 1<<32 - 1},
	"data_offset":             {0, 512, 1<<64 - 2},
	"original_size":           {0, 1, 16777217, 1<<60 + 512, 1 << 63, 1<<64 - 512},
	"current_size":            {0, 16777216, 1<<30 + 1, 2 << 30, 1 << 60, 1<<64 - 1<<30, 1<<64 - 1},
	"type":                    {0, 2, 3, 1<<32 - 1},
	"block_size":              {0, 1, 512 << 10, 3 << 20, 64 << 20, 1 << 31, 1<<32 - 1},
	"max_blk_num":             {0, 7, 9, 32768, 32769, 1<<32 - 1},
	"index_lba":               {512, 438273, 966656, 1 << 40, 1 << 63, 1<<64 - 4096, 1<<64 - 1},
	"bitmap_lba":              {0, 4096, 438272, 962561, 966656, 1 << 63, 1<<64 - 4096},
	"index_size":              {0, 4096, 1 << 20, 1<<32 - 1},
	"bitmap_size":             {0, 1, 8192, 1<<32 - 1},
	"index_seg_size":          {0, 4096, 1<<32 - 1},
	"bitmap_seg_size":         {0, 512, 1<<32 - 1},
	"index_seg_num":           {0, 2, 8192, 1<<32 - 1},
	"bitmap_seg_num":          {0, 2, 1<<32 - 1},
	"non_zero_blk_num":        {9, 1<<32 - 1},
	"index_contains_zero_blk": {2, 255},
}

// unsupportedFields are values that announce a variant which is not read.
var unsupportedFields = map[string][]uint64{
	"version":         {0, 0x00020000, 1<<32 - 1},
	"zvhd2_version":   {0, 2, 255},
	"compress_method": {2, 255},
}

// ignoredFields do not matter to a reader: nothing that is followed depends on them. docs/formats/zvhd2.md
// says so for each.
var ignoredFields = map[string][]uint64{
	"timestamp": {0, 1<<32 - 1}, "creator_app": {0, 1<<32 - 1}, "creator_version": {0, 0x00010003, 1<<32 - 1},
	"creator_os": {1<<32 - 1}, "geometry": {0, 1<<32 - 1}, "uuid": {0, 1<<64 - 1}, "saved": {1}, "hidden": {1},
	"align_64": {1}, "reserved": {1<<64 - 1},
}

// sealedFields are what checkSeal is about: see TestUnsealedFooter.
var sealedFields = []string{"cookie", "checksum"}

func TestEveryFieldIsRefusedByNameOrIgnored(t *testing.T) {
	good := readFile(t, "tiny.zvhd2")
	at := int64(len(good) - unit)
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
					poke(image, at, name, value)
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
	image := readFile(t, "tiny.zvhd2")
	at := int64(len(image) - unit)
	poke(image, at, "block_size", 3<<20)
	formattest.WantError(t, openError(t, image), formats.ErrCorrupt, fmt.Sprintf("at %#x", at+88), "block_size is 3145728", "power of two")
}

func TestSixteenExbibytes(t *testing.T) {
	image := readFile(t, "tiny.zvhd2")
	at := int64(len(image) - unit)
	poke(image, at, "original_size", 1<<64-512)
	poke(image, at, "current_size", 0) // what rounding up overflows to
	poke(image, at, "max_blk_num", 0)  // 2^43 blocks, as far as 32 bits show them
	formattest.WantError(t, openError(t, image), formats.ErrCorrupt, "original_size")
}

// TestHugeClaimsTakeNoMemory opens small files that claim tables of gigabytes.
func TestHugeClaimsTakeNoMemory(t *testing.T) {
	good := readFile(t, "tiny.zvhd2")
	at := int64(len(good) - unit)
	const blocks = 1<<32 - 1
	const size = blocks * defaultBlockSize
	for _, full := range []uint64{0, 1} {
		image := bytes.Clone(good)
		for _, f := range []struct {
			name  string
			value uint64
		}{
			{"original_size", size}, {"current_size", zstream.RoundUp(uint64(size), zstream.CurrentSizeUnit)}, {"max_blk_num", blocks},
			{"non_zero_blk_num", blocks}, {"index_contains_zero_blk", full}, {"index_seg_num", 131072}, {"index_size", 1<<32 - 1},
			{"bitmap_seg_num", 131072}, {"bitmap_size", 131072 * bitmapSegSize},
		} {
			poke(image, at, f.name, f.value)
		}
		d := newDriver()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := d.Open(t.Context(), formattest.Bytes(image), formats.OpenOptions{})
		runtime.ReadMemStats(&after)
		formattest.WantError(t, err, formats.ErrCorrupt)
		if used := after.TotalAlloc - before.TotalAlloc; used > 256<<10 {
			t.Errorf("refusing the claim took %d bytes of memory", used)
		}
	}
}

// TestTablesHaveALimit opens a sparse file, big enough to hold what it claims, whose tables are beyond our limit.
func TestTablesHaveALimit(t *testing.T) {
	f := finalFooter(readFile(t, "tiny.zvhd2"))
	const stored = 5_000_000 // 80 MB of index
	f.OriginalSize, f.CurrentSize = stored*defaultBlockSize, zstream.RoundUp(uint64(stored*defaultBlockSize), zstream.CurrentSizeUnit)
	f.maxBlkNum, f.nonZeroBlkNum = stored, stored
	f.indexSegNum, f.bitmapSegNum = uint32(ceilDiv(stored, entriesPerSeg)), uint32(ceilDiv(stored, bitsPerSeg))
	f.indexSize, f.bitmapSize = f.indexSegNum*indexSegSize, f.bitmapSegNum*bitmapSegSize
	f.indexLBA = 1 << 45
	f.bitmapLBA = f.indexLBA + uint64(f.indexSize)
	f.Checksum = zstream.Sum(f.encode())
	at := int64(f.bitmapLBA) + int64(f.bitmapSize)
	src := formattest.Sparse{Bytes: at + unit, Parts: []formattest.Part{{Off: at, Data: f.encode()}}}
	_, err := newDriver().Open(t.Context(), src, formats.OpenOptions{})
	formattest.WantError(t, err, formats.ErrCorrupt, "max_blk_num", "5000000 entries", "memory")
}

func TestUnsealedFooter(t *testing.T) {
	good := readFile(t, "tiny.zvhd2")
	at := len(good) - unit
	for _, c := range []struct {
		name   string
		change func(image []byte) []byte
		words  []string
	}{
		{"cookie", func(b []byte) []byte { b[at] = 'Z'; return b }, []string{"cookie", "truncated", "6 whole chunks"}},
		{"checksum", func(b []byte) []byte { b[at+64] ^= 1; return b }, []string{"checksum", "truncated", "6 whole chunks"}},
		{"covered byte", func(b []byte) []byte { b[at+300] ^= 1; return b }, []string{"checksum", "6 whole chunks"}},
		{"cut in the bitmap", func(b []byte) []byte { return b[:at-1] }, []string{"truncated", "6 whole chunks"}},
		{"cut after the copy", func(b []byte) []byte { return b[:438272] }, []string{"checksum", "truncated", "6 whole chunks"}},
		{"cut before the copy", func(b []byte) []byte { return b[:434176] }, []string{"truncated", "6 whole chunks"}},
		{"cut in a chunk", func(b []byte) []byte { return b[:368640+53248-1] }, []string{"truncated", "2 whole chunks"}},
		{"cut in the first", func(b []byte) []byte { return b[:4200] }, []string{"truncated", "0 whole chunks"}},
		{"header only", func(b []byte) []byte { return b[:4096] }, []string{"truncated", "0 whole chunks"}},
		{"half a header", func(b []byte) []byte { return b[:600] }, []string{"truncated", "0 whole chunks"}},
		{"shorter than a footer", func(b []byte) []byte { return b[:511] }, []string{"the file has 511 bytes"}},
		{"garbage behind", func(b []byte) []byte { return append(b, 1, 2, 3) }, []string{"cookie", "6 whole chunks"}},
		{"both", func(b []byte) []byte { b[at+64] ^= 1; b[0] = 0; return b }, []string{"final footer: checksum", "header: cookie"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			formattest.WantError(t, openError(t, c.change(bytes.Clone(good))), formats.ErrCorrupt, c.words...)
		})
	}
}

// TestTruncatedEmptyDisk: the copy of its header has a good checksum, as nothing was counted.
func TestTruncatedEmptyDisk(t *testing.T) {
	formattest.WantError(t, openError(t, readFile(t, "zero.zvhd2")[:8192]), formats.ErrCorrupt, "truncated", "0 whole chunks")
}

func TestSequentialOnlyFileIsRefusedByName(t *testing.T) {
	image := readFile(t, "tiny.zvhd2")[:434176]
	poke(image, 0, "zvhd2_version", 0)
	formattest.WantError(t, openError(t, image), errors.ErrUnsupported, "zvhd2_version 0")
}

func TestOldChecksumQuirk(t *testing.T) {
	for _, c := range []struct {
		version uint64
		app     string
		want    bool
	}{{0x0000_0001, "tap", true}, {0x0001_0001, "tap", true}, {0x0001_0004, "tap", false}, {0x0001_0001, "tip", false}} {
		image := readFile(t, "tiny.zvhd2")
		at := int64(len(image) - unit)
		copy(image[at+28:], c.app)
		poke(image, at, "creator_version", c.version)
		image[at+85] = 1 // hidden, set after the checksum was made
		_, err := newDriver().Open(t.Context(), formattest.Bytes(image), formats.OpenOptions{})
		if (err == nil) != c.want {
			t.Errorf("creator %s %#x: %v, want it opened: %v", c.app, c.version, err, c.want)
		}
	}
}

// Where things are in tiny.zvhd2.
const (
	tinyIndex  = 438272
	tinyBitmap = 962560
)

func TestHostileTables(t *testing.T) {
	le := binary.LittleEndian
	for _, c := range []struct {
		name   string
		change func(b []byte)
		words  []string
	}{
		{"offset after the data", func(b []byte) { le.PutUint64(b[tinyIndex+16:], tinyIndex) }, []string{"index entry 1", "block 1", "outside the data area"}},
		{"odd offset", func(b []byte) { le.PutUint64(b[tinyIndex+16:], 1) }, []string{"index entry 1", "multiples of 4096"}},
		{"offset after the file", func(b []byte) { le.PutUint64(b[tinyIndex+16:], 1<<40) }, []string{"index entry 1", "outside"}},
		{"offset that overflows", func(b []byte) { le.PutUint64(b[tinyIndex+16:], 1<<64-4096) }, []string{"index entry 1", "outside"}},
		{"negative offset", func(b []byte) { le.PutUint64(b[tinyIndex+16:], 1<<63) }, []string{"index entry 1", "outside"}},
		{"no offset", func(b []byte) { le.PutUint64(b[tinyIndex+16:], 0) }, []string{"index entry 1", "no chunk"}},
		{"no length", func(b []byte) { le.PutUint32(b[tinyIndex+28:], 0) }, []string{"index entry 1", "no chunk"}},
		{"odd length", func(b []byte) { le.PutUint32(b[tinyIndex+28:], 4097) }, []string{"index entry 1", "multiples of 4096"}},
		{"length into the tables", func(b []byte) { le.PutUint32(b[tinyIndex+28:], 1<<20) }, []string{"index entry 1", "outside"}},
		{"huge length", func(b []byte) { le.PutUint32(b[tinyIndex+28:], 1<<32-4096) }, []string{"index entry 1", "length", "block_size"}},
		{"another block", func(b []byte) { le.PutUint32(b[tinyIndex+24:], 2) }, []string{"index entry 1", "block number is 2, must be 1"}},
		{"block that is not there", func(b []byte) { le.PutUint32(b[tinyIndex+24:], 1<<32-1) }, []string{"index entry 1", "block number"}},
		{"overlap", func(b []byte) { le.PutUint32(b[tinyIndex+28:], 57344) }, []string{"block 2 overlaps", "block 1"}},
		{"the same chunk twice", func(b []byte) { copy(b[tinyIndex+16:tinyIndex+24], b[tinyIndex:tinyIndex+8]) }, []string{"overlaps"}},
		{"bit too many", func(b []byte) { b[tinyBitmap] |= 1 << 3 }, []string{"bitmap", "7 bits", "non_zero_blk_num is 6"}},
		{"bit too few", func(b []byte) { b[tinyBitmap] &^= 1 << 7 }, []string{"bitmap", "5 bits"}},
		{"bit moved", func(b []byte) { b[tinyBitmap] ^= 1<<3 | 1<<4 }, []string{"index entry 3", "block number is 4, must be 3"}},
		{"bit after the disk", func(b []byte) { b[tinyBitmap+1] |= 1 }, []string{"bitmap", "block 8", "max_blk_num is 8"}},
		{"last bit of the segment", func(b []byte) { b[tinyBitmap+4095] |= 0x80 }, []string{"bitmap", "block 32767"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := readFile(t, "tiny.zvhd2")
			c.change(image)
			formattest.WantError(t, openError(t, image), formats.ErrCorrupt, append(c.words, "at 0x")...)
		})
	}
}

func TestHostileFullIndex(t *testing.T) {
	image := readFile(t, "tiny-full-index.zvhd2")
	binary.LittleEndian.PutUint64(image[tinyIndex+3*entrySize:], 4096)
	image[tinyIndex+3*entrySize+13] = 0x10
	formattest.WantError(t, openError(t, image), formats.ErrCorrupt, "index entry 3", "block 3", "clear")

	image = readFile(t, "tiny-full-index.zvhd2")
	clear(image[tinyIndex+4*entrySize : tinyIndex+5*entrySize])
	formattest.WantError(t, openError(t, image), formats.ErrCorrupt, "index entry 4", "block 4 has no chunk")
}

// TestChunksInAnyOrder: the format writes them ascending, but only overlaps are a danger.
func TestChunksInAnyOrder(t *testing.T) {
	image := readFile(t, "tiny.zvhd2")
	want := goldenDisk(t, "tiny")
	a, b := bytes.Clone(image[421888:425984]), bytes.Clone(image[425984:430080]) // blocks 4 and 5
	copy(image[421888:], b)
	copy(image[425984:], a)
	binary.LittleEndian.PutUint64(image[tinyIndex+3*entrySize:], 425984)
	binary.LittleEndian.PutUint64(image[tinyIndex+4*entrySize:], 421888)
	wantDisk(t, image, want)
}

// TestHostileChunks damages the chunk of block 4, at 421888 in tiny.zvhd2, whose 82 compressed bytes take one unit.
func TestHostileChunks(t *testing.T) {
	const at = 421888
	le := binary.LittleEndian
	frame := func(n int) []byte {
		z, err := codec.NewZstdEncoder(0, maxBlockSize)
		if err != nil {
			t.Fatal(err)
		}
		return z.Encode(nil, make([]byte, n))
	}
	replace := func(b, compressed []byte) {
		clear(b[at : at+unit])
		copy(b[at:], zstream.EncodeChunk(append(make([]byte, zstream.ChunkHeaderSize), compressed...), 4))
	}
	for _, c := range []struct {
		name   string
		change func(b []byte)
		words  []string // none: the change is ignored
	}{
		{"cookie", func(b []byte) { b[at] = 'H' }, []string{"cookie"}},
		{"cookie's zero", func(b []byte) { b[at+11] = 1 }, []string{"cookie"}},
		{"compressed size 0", func(b []byte) { le.PutUint32(b[at+12:], 0) }, []string{"zstd"}},
		{"compressed size, less", func(b []byte) { le.PutUint32(b[at+12:], 81) }, []string{"zstd"}},
		{"compressed size, one unit more", func(b []byte) { le.PutUint32(b[at+12:], 4096) }, []string{"compressed size is 4096"}},
		{"compressed size 2^32-1", func(b []byte) { le.PutUint32(b[at+12:], 1<<32-1) }, []string{"compressed size is 4294967295"}},
		{"block number", func(b []byte) { le.PutUint32(b[at+16:], 5) }, []string{"block number is 5, must be 4"}},
		{"trailer", func(b []byte) { b[at+unit-1] = 1 }, []string{"last four bytes"}},
		{"not a frame", func(b []byte) { b[at+zstream.ChunkHeaderSize] ^= 1 }, []string{"zstd"}},
		{"shorter frame", func(b []byte) { replace(b, frame(1<<20)) }, []string{"1048576 bytes, must be 2097152"}},
		{"longer frame", func(b []byte) { replace(b, frame(2<<20+1)) }, []string{"2097153 bytes, must be 2097152"}},
		{"bomb", func(b []byte) { replace(b, frame(32<<20)) }, []string{"33554432 bytes, must be 2097152"}},
		{"two frames", func(b []byte) { replace(b, append(frame(2<<20), frame(2<<20)...)) }, []string{"more than 2097152"}},
		{"compressed flag", func(b []byte) { b[at+20] = 0xFF }, nil},
		{"original size", func(b []byte) { le.PutUint32(b[at+24:], 1<<32-1) }, nil},
		{"reserved", func(b []byte) { copy(b[at+28:at+48], bytes.Repeat([]byte{0xFF}, 20)) }, nil},
		{"padding", func(b []byte) { b[at+2000] = 0xFF }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := readFile(t, "tiny.zvhd2")
			c.change(image)
			img := openSource(t, formattest.Bytes(image))
			for _, n := range []int{2 << 20, 512} {
				err := img.ReadAt(t.Context(), make([]byte, n), 4*2<<20)
				if c.words == nil {
					if err != nil {
						t.Errorf("ReadAt of %d bytes = %v", n, err)
					}
					continue
				}
				formattest.WantError(t, err, formats.ErrCorrupt, append(c.words, "chunk of block 4", "at 0x67000")...)
			}
			if err := img.ReadAt(t.Context(), make([]byte, 2<<20), 5*2<<20); err != nil {
				t.Errorf("the chunk beside it: %v", err)
			}
		})
	}
}
