package test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

// fieldsDisk has data in blocks 0, 3 and 4. Block 4, the last, has 512 bytes.
const (
	fieldsSize = 9*mib + 512
	fieldsUUID = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
)

// vhdFields are the first 87 bytes of that disk's header by docs/formats/zvhd.md and zvhd2.md,
// without cookie and checksum.
var vhdFields = []field{
	{8, 4, 2, "features"},
	{12, 4, 0x00010000, "version"},
	{16, 8, 1<<64 - 1, "data_offset"},
	{24, 4, 1_700_000_000 - 946_684_800, "timestamp"},
	{28, 4, 0x00706174, "creator_app"},
	{32, 4, 1<<16 | 4, "creator_version"},
	{36, 4, 0, "creator_os"},
	{40, 8, fieldsSize, "original_size"},
	{48, 8, 1 << 30, "current_size"},
	{56, 4, 271<<16 | 4<<8 | 17, "geometry"}, // of 18433 sectors
	{60, 4, 4, "type"},
	{84, 2, 0, "saved and hidden"},
	{86, 1, 0, "align_64"},
}

// field is a little-endian number at an offset.
type field struct {
	at, size int64
	want     uint64
	name     string
}

// layout checks a written file byte by byte.
type layout struct {
	t *testing.T
	b []byte
}

func (l layout) number(at, size int64) uint64 {
	l.t.Helper()
	if at+size > int64(len(l.b)) {
		l.t.Fatalf("%d bytes at %d: the file has %d", size, at, len(l.b))
	}
	var n [8]byte
	copy(n[:], l.b[at:at+size])
	return binary.LittleEndian.Uint64(n[:])
}

func (l layout) fields(what string, base int64, fields ...field) {
	l.t.Helper()
	for _, f := range fields {
		if got := l.number(base+f.at, f.size); got != f.want {
			l.t.Errorf("%s at %d: %s is %#x, want %#x", what, base, f.name, got, f.want)
		}
	}
}

func (l layout) text(what string, at int64, want string) {
	l.t.Helper()
	if got := string(l.b[at : at+int64(len(want))]); got != want {
		l.t.Errorf("%s at %d: %q, want %q", what, at, got, want)
	}
}

func (l layout) zeros(what string, from, to int64) {
	l.t.Helper()
	if !bytes.Equal(l.b[from:to], make([]byte, to-from)) {
		l.t.Errorf("%s: bytes %d to %d are not all zeros", what, from, to)
	}
}

// header checks the fields that both formats have, and reports whether the checksum is right.
func (l layout) header(what string, at int64, cookie string) (good bool) {
	l.t.Helper()
	l.text(what, at, cookie)
	l.fields(what, at, vhdFields...)
	uuid, err := hex.DecodeString("6ba7b8109dad41d180b400c04fd430c8")
	if err != nil {
		l.t.Fatal(err)
	}
	l.text(what+": uuid", at+68, string(uuid))
	l.zeros(what, at+142, at+4096)
	var sum uint32
	for i, c := range l.b[at : at+512] {
		if i < 64 || i >= 68 {
			sum += uint32(c)
		}
	}
	return uint32(l.number(at+64, 4)) == ^sum
}

// chunks checks the chunks of blocks, one after the other from 4096 on, and returns where each
// begins and the last ends.
func (l layout) chunks(blocks ...uint64) (at []int64) {
	l.t.Helper()
	at = []int64{4096}
	for _, block := range blocks {
		start := at[len(at)-1]
		l.text("chunk", start, "hwstream bg\x00")
		l.fields("chunk", start, field{16, 4, block, "block number"}, field{20, 8, 0, "compressed flag and original size"})
		l.zeros("chunk's header", start+28, start+48)
		n := int64(l.number(start+12, 4))
		end := start + (48+n+4+4095)/4096*4096
		l.zeros("chunk's padding", start+48+n, end-4)
		l.text("chunk's trailer", end-4, "end\x00")
		at = append(at, end)
	}
	return at
}

func writeFields(t *testing.T, format string) layout {
	t.Helper()
	dir := t.TempDir()
	disk, dst := filepath.Join(dir, "disk"), filepath.Join(dir, "dst")
	sparse(fieldsSize, 4096, 7_000_000, 9*mib)(t, disk)
	mustRun(t, program, "convert", "-f", "raw", "-O", format, "-o", "timestamp=1700000000,uuid="+fieldsUUID, disk, dst)
	b, err := os.ReadFile(dst)
	must(t, err)
	return layout{t, b}
}

// TestZVHD2FieldByField compares a written file with the documented layout, without our reader.
func TestZVHD2FieldByField(t *testing.T) {
	l := writeFields(t, "zvhd2")
	constant := []field{{87, 1, 1, "zvhd2_version"}, {88, 4, 2 * mib, "block_size"}, {92, 4, 5, "max_blk_num"},
		{140, 1, 0, "index_contains_zero_blk"}, {141, 1, 1, "compress_method"}}
	at := l.chunks(0, 3, 4)
	copyAt := at[3]
	index := copyAt + 4096
	bitmap := index + 512*kib
	footer := bitmap + 4096
	if int64(len(l.b)) != footer+4096 {
		t.Fatalf("the file has %d bytes, want %d", len(l.b), footer+4096)
	}
	for _, h := range []struct {
		name           string
		at             int64
		stored         uint64
		good, complete bool
	}{{"header", 0, 0, true, false}, {"copy", copyAt, 3, false, false}, {"footer", footer, 3, true, true}} {
		if good := l.header(h.name, h.at, "z2strm\x00\x00"); good != h.good {
			t.Errorf("%s: the checksum is good: %v, want %v", h.name, good, h.good)
		}
		l.fields(h.name, h.at, constant...)
		l.fields(h.name, h.at, field{136, 4, h.stored, "non_zero_blk_num"})
		if !h.complete {
			l.zeros(h.name+"'s index fields", h.at+96, h.at+136)
			continue
		}
		l.fields(h.name, h.at, field{96, 8, uint64(index), "index_lba"}, field{104, 8, uint64(bitmap), "bitmap_lba"},
			field{112, 4, 512 * kib, "index_size"}, field{116, 4, 4096, "bitmap_size"}, field{120, 4, 512 * kib, "index_seg_size"},
			field{124, 4, 4096, "bitmap_seg_size"}, field{128, 4, 1, "index_seg_num"}, field{132, 4, 1, "bitmap_seg_num"})
	}
	for i, block := range []uint64{0, 3, 4} {
		l.fields("index entry", index+16*int64(i), field{0, 8, uint64(at[i]), "offset"}, field{8, 4, block, "block"}, field{12, 4, uint64(at[i+1] - at[i]), "length"})
	}
	l.zeros("rest of the index", index+3*16, bitmap)
	l.fields("bitmap", bitmap, field{0, 1, 1<<0 | 1<<3 | 1<<4, "bits"})
	l.zeros("rest of the bitmap", bitmap+1, footer)
}

// TestZVHDFieldByField does the same for ZVHD.
func TestZVHDFieldByField(t *testing.T) {
	l := writeFields(t, "zvhd")
	if !l.header("header", 0, "stream\x00\x00") {
		t.Error("the header's checksum is wrong")
	}
	l.zeros("header", 87, 4096)
	at := l.chunks(0, 3, 4)
	l.fields("stream", at[0]+48, field{0, 2, 0x9c78, "zlib header"})
	for i, end := range at[:3] {
		n := int64(l.number(end+12, 4))
		l.text("sync flush of chunk "+string(rune('0'+i)), end+48+n-4, "\x00\x00\xff\xff")
	}
	if !bytes.Equal(l.b[at[3]:], l.b[:4096]) {
		t.Error("the file does not end with a copy of the header after the chunks")
	}
}
