package vmdk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// openError opens an image that must be refused.
func openError(t *testing.T, src formats.Source, beside formats.Files) error {
	t.Helper()
	_, err := New().Open(t.Context(), src, formats.OpenOptions{Files: beside})
	if err == nil {
		t.Fatal("a hostile image was opened")
	}
	return err
}

// poke sets the named field of the header at an offset.
func poke(image []byte, at int64, name string, value uint64) {
	for _, f := range fields {
		if f.name == name {
			var b [8]byte
			binary.LittleEndian.PutUint64(b[:], value)
			copy(image[at+int64(f.off):][:f.size], b[:])
		}
	}
}

// hostileFields are values of header fields that must be refused by the field's name, in an otherwise good file.
var hostileFields = map[string][]uint64{
	"capacity":          {1 << 52, 1<<51 + 1, 1 << 63, 1<<64 - 1, 1 << 50},
	"grainSize":         {0, 1, 4, 7, 96, 1 << 20, 1 << 32, 1 << 63, 1<<64 - 1},
	"descriptorOffset":  {0xffff, 1 << 40, 1 << 63, 1<<64 - 1},
	"descriptorSize":    {0, 2049, 1 << 32, 1 << 63, 1<<64 - 1},
	"numGTEsPerGT":      {0, 513, 1 << 31, 1<<32 - 1},
	"gdOffset":          {0, 0xffff, 1 << 40, 1 << 55, 1 << 63, 1<<64 - 2},
	"overHead":          {0xffff, 1 << 63, 1<<64 - 1},
	"newlines":          {0, 0x0a0d200d, 0x0a0a200a},
	"compressAlgorithm": {1},
}

// unsupportedFields are values that announce a variant which is not read.
var unsupportedFields = map[string][]uint64{
	"version":           {0, 4, 1<<32 - 1},
	"flags":             {3 | 8, 3 | 1<<15, 3 | 1<<18, 3 | 1<<31, 3 | flagCompressed},
	"compressAlgorithm": {2, 1<<16 - 1},
	"descriptorOffset":  {0}, // an extent of a disk that is described elsewhere
}

// ignoredFields do not matter to a reader.
var ignoredFields = map[string][]uint64{
	"version": {1, 2, 3}, "uncleanShutdown": {1, 255}, "rgdOffset": {0, 1, 1<<64 - 1}, "overHead": {0, 1}, "pad": {1<<64 - 1}, "flags": {1, 2, 0, 3 | flagMarkers},
}

func TestEveryHeaderFieldIsRefusedByNameOrIgnored(t *testing.T) {
	good := single()["hosted"].build()
	for _, f := range fields {
		if len(hostileFields[f.name]) == 0 && len(unsupportedFields[f.name]) == 0 && len(ignoredFields[f.name]) == 0 && f.name != "magicNumber" {
			t.Errorf("no test says what a hostile %s does", f.name)
		}
	}
	for _, set := range []struct {
		kind   error
		values map[string][]uint64
	}{{formats.ErrCorrupt, hostileFields}, {errors.ErrUnsupported, unsupportedFields}, {nil, ignoredFields}} {
		for _, name := range slices.Sorted(maps.Keys(set.values)) {
			for _, value := range set.values[name] {
				t.Run(fmt.Sprintf("%s/%#x", name, value), func(t *testing.T) {
					image := bytes.Clone(good)
					poke(image, 0, name, value)
					if set.kind != nil {
						words := []string{strings.ReplaceAll(name, "descriptorOffset", "descriptor")}
						if value == 3|flagCompressed {
							words = []string{"without markers"}
						}
						formattest.WantError(t, openError(t, formattest.Bytes(image), nil), set.kind, words...)
						return
					}
					if err := openSource(t, formattest.Bytes(image), nil).ReadAt(t.Context(), make([]byte, 1<<20), 0); err != nil {
						t.Errorf("an ignored field changed reading: %v", err)
					}
				})
			}
		}
	}
}

func TestErrorsNameTheFieldsOffset(t *testing.T) {
	image := single()["hosted"].build()
	poke(image, 0, "grainSize", 100)
	formattest.WantError(t, openError(t, formattest.Bytes(image), nil), formats.ErrCorrupt, "vmdk: at 0x14: header: grainSize is 100, must be a power of two from 8 to 524288 sectors")
	image = single()["stream"].build()
	at := int64(len(image) - 2*sector)
	poke(image, at, "grainSize", 100)
	formattest.WantError(t, openError(t, formattest.Bytes(image), nil), formats.ErrCorrupt, fmt.Sprintf("vmdk: at %#x: footer: grainSize is 100", at+20))
}

func TestHostileFooters(t *testing.T) {
	good := single()["stream"].build()
	at := int64(len(good) - 2*sector)
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		kind   error
		words  []string
	}{
		{"cut short", func(b []byte) []byte { return b[:len(b)-sector] }, formats.ErrCorrupt, []string{"footer: magicNumber", "truncated"}},
		{"header only", func(b []byte) []byte { return b[:sector] }, formats.ErrCorrupt, []string{"gdOffset", "512 bytes", "truncated"}},
		{"half a header", func(b []byte) []byte { return b[:100] }, formats.ErrCorrupt, []string{"header", "100 bytes"}},
		{"a footer of footers", func(b []byte) []byte { poke(b, at, "gdOffset", gdAtEnd); return b }, formats.ErrCorrupt, []string{"footer: gdOffset"}},
		{"version", func(b []byte) []byte { poke(b, at, "version", 9); return b }, errors.ErrUnsupported, []string{"version 9"}},
		{"another codec", func(b []byte) []byte { poke(b, at, "compressAlgorithm", 7); return b }, errors.ErrUnsupported, []string{"compressAlgorithm 7"}},
		{"a codec without its flag", func(b []byte) []byte { poke(b, at, "flags", 1); return b }, formats.ErrCorrupt, []string{"flags is 1", "compressAlgorithm 1"}},
		{"a grain of 64 MiB", func(b []byte) []byte { poke(b, at, "grainSize", 1<<17); return b }, formats.ErrCorrupt, []string{"grainSize", "65536 sectors"}},
		{"the directory in the footer's place", func(b []byte) []byte { poke(b, at, "gdOffset", uint64(len(b)/sector)); return b }, formats.ErrCorrupt, []string{"gdOffset"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			formattest.WantError(t, openError(t, formattest.Bytes(c.change(bytes.Clone(good))), nil), c.kind, c.words...)
		})
	}
}

// TestHugeClaimsTakeNoMemory opens small files that claim much.
func TestHugeClaimsTakeNoMemory(t *testing.T) {
	good := single()["hosted"].build()
	many := describe("x", slices.Repeat([]string{`RW 1 FLAT "a" 0`}, 1_000_000)...)
	for name, src := range map[string]formats.Source{
		"capacity": func() formats.Source {
			b := bytes.Clone(good)
			poke(b, 0, "capacity", 1<<51)
			return formattest.Bytes(b)
		}(),
		"extents":   formattest.Bytes(many),
		"text":      formattest.Sparse{Bytes: 1 << 50, Parts: []formattest.Part{{Data: []byte(firstLine)}}},
		"directory": hugeDirectory(),
	} {
		d := New()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := d.Open(t.Context(), src, formats.OpenOptions{Files: files{"a": formattest.Bytes(make([]byte, sector))}})
		runtime.ReadMemStats(&after)
		formattest.WantError(t, err, formats.ErrCorrupt)
		if used := after.TotalAlloc - before.TotalAlloc; used > 256<<10 {
			t.Errorf("%s: refusing the claim took %d bytes of memory", name, used)
		}
	}
}

// hugeDirectory is a file that is long enough for a directory of more than maxDirectories.
func hugeDirectory() formats.Source {
	h := decodeHeader(single()["hosted"].build())
	h.capacity = (maxDirectories/gteSize*512 + 1) * h.grainSize
	return formattest.Sparse{Bytes: 1 << 40, Parts: []formattest.Part{{Data: h.encode()}}}
}

func TestHostileGrains(t *testing.T) {
	plain, stream := single()["hosted"], single()["stream, tables"]
	for _, c := range []struct {
		name  string
		spec  spec
		entry uint32 // of grain 0, which is stored
		words []string
	}{
		{"over the header", plain, 0xffffffff, []string{"grain 0", "within the file"}},
		{"zeros without the flag", plain, 1, []string{"grain 0", "over the descriptor"}},
		{"into the descriptor", plain, 20, []string{"grain 0", "over the descriptor"}},
		{"after the file", plain, 1 << 20, []string{"grain 0", "within the file"}},
		{"compressed, after the file", stream, 0xffffffff, []string{"grain 0", "within the file"}},
		{"compressed, in the descriptor", stream, 3, []string{"grain 0", "over the descriptor"}},
		{"compressed, on the last byte", stream, uint32(len(stream.build())/sector - 1), []string{"grain 0", "size is 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := c.spec.build()
			h, _, err := readHeader(t.Context(), file{Source: formattest.Bytes(image)})
			if err != nil {
				t.Fatal(err)
			}
			table := binary.LittleEndian.Uint32(image[h.gdOffset*sector:])
			binary.LittleEndian.PutUint32(image[table*sector:], c.entry)
			img := openSource(t, formattest.Bytes(image), nil)
			for _, n := range []int{512, 64 << 10, 1 << 20} {
				formattest.WantError(t, img.ReadAt(t.Context(), make([]byte, n), 0), formats.ErrCorrupt, append(c.words, "at 0x")...)
			}
			if err := img.ReadAt(t.Context(), make([]byte, 4096), 2<<20); err != nil {
				t.Errorf("another grain: %v", err)
			}
		})
	}
}

func TestHostileTables(t *testing.T) {
	for _, entry := range []uint32{1 << 20, 0xffffffff} {
		image := single()["hosted"].build()
		h := decodeHeader(image)
		binary.LittleEndian.PutUint32(image[h.gdOffset*sector:], entry)
		img := openSource(t, formattest.Bytes(image), nil)
		formattest.WantError(t, img.ReadAt(t.Context(), make([]byte, 512), 0), formats.ErrCorrupt, "grain table", "within the file")
		_, err := img.Extent(t.Context(), 0, 512)
		formattest.WantError(t, err, formats.ErrCorrupt, "grain table")
	}
	// 40 tables of one group, of which a later one starts where the group does.
	s := spec{disk: diskOf(40*16*4096, 0, 40*16*4096), grain: 4096, gtes: 16, plainTables: true, descriptor: ownDescriptor("x", 40*16*4096)}
	image := s.build()
	h := decodeHeader(image)
	copy(image[h.gdOffset*sector+36*4:], image[h.gdOffset*sector:][:4])
	img := openSource(t, formattest.Bytes(image), nil)
	if err := img.ReadAt(t.Context(), make([]byte, 512), 0); err != nil {
		t.Fatal(err)
	}
	formattest.WantError(t, img.ReadAt(t.Context(), make([]byte, 512), 36*16*4096), formats.ErrCorrupt, "grain table 36", "starts where another does")
}

// TestHostileStoredGrains puts other stored bytes in the place of grain 16, which has room for 64 KiB.
func TestHostileStoredGrains(t *testing.T) {
	const g, lba = 16, 16 * 128
	noise := make([]byte, 64<<10)
	for i := range noise {
		noise[i] = byte(i * i >> 3)
	}
	le := binary.LittleEndian
	with := func(change func(b []byte)) []byte { b := storedGrain(lba, noise); change(b); return b }
	for _, c := range []struct {
		name   string
		stored []byte
		words  []string
	}{
		{"another grain", storedGrain(lba+128, noise), []string{"for sector 2176, must be for 2048"}},
		{"size 0", with(func(b []byte) { le.PutUint32(b[8:], 0) }), []string{"not a grain's"}},
		{"size 2^32-1", with(func(b []byte) { le.PutUint32(b[8:], 1<<32-1) }), []string{"4294967295 bytes compressed", "twice"}},
		{"size of two grains and one", with(func(b []byte) { le.PutUint32(b[8:], 128<<10+1) }), []string{"131073 bytes compressed", "twice"}},
		{"size beyond the file", with(func(b []byte) { le.PutUint32(b[8:], 120<<10) }), []string{"122880 bytes compressed", "within the file"}},
		{"size less", with(func(b []byte) { le.PutUint32(b[8:], le.Uint32(b[8:])-1) }), []string{"zlib"}},
		{"no checksum", with(func(b []byte) { le.PutUint32(b[8:], le.Uint32(b[8:])-4) }), []string{"zlib"}},
		{"flipped bit", with(func(b []byte) { b[1000] ^= 1 }), []string{"zlib"}},
		{"not zlib", with(func(b []byte) { b[12] = 'P' }), []string{"zlib"}},
		{"short", storedGrain(lba, noise[:64<<10-1]), []string{"zlib", "65535 bytes, must be 65536"}},
		{"empty", storedGrain(lba, nil), []string{"zlib", "0 bytes, must be 65536"}},
		{"long", storedGrain(lba, append(bytes.Clone(noise), 0)), []string{"zlib", "more than 65536"}},
		{"bomb", storedGrain(lba, make([]byte, 8<<20)), []string{"zlib", "more than 65536"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := spec{disk: diskOf(2<<20, 1<<20, 64<<10), grain: 64 << 10, gtes: 512, plainTables: true, compressed: true, descriptor: ownDescriptor("x", 2<<20)}
			image := s.build()
			at := int64(decodeHeader(image).overHead) * sector
			image = append(image[:at], append(c.stored, make([]byte, 64<<10-len(c.stored)%(64<<10))...)...)
			img := openSource(t, formattest.Bytes(image), nil)
			for _, r := range []struct{ off, n int64 }{{1 << 20, 64 << 10}, {1<<20 + 77, 512}, {0, 2 << 20}} {
				formattest.WantError(t, img.ReadAt(t.Context(), make([]byte, r.n), r.off), formats.ErrCorrupt, append(c.words, fmt.Sprintf("at %#x: grain %d", at, g))...)
			}
		})
	}
}

// TestStreamCutAnywhere cuts a stream whose directory is in front, so that it opens, in each of its sectors: grains that are read at once
// may lie on both sides.
func TestStreamCutAnywhere(t *testing.T) {
	s := spec{disk: diskOf(1<<20, 0, 16*4096), grain: 4096, gtes: 512, plainTables: true, compressed: true, descriptor: ownDescriptor("x", 1<<20)}
	image := s.build()
	start := int(decodeHeader(image).overHead) * sector
	for cut := start; cut <= len(image)-sector; cut += sector / 2 {
		img := openSource(t, formattest.Bytes(image[:cut]), nil)
		formattest.WantError(t, img.ReadAt(t.Context(), make([]byte, 16*4096), 0), formats.ErrCorrupt, "grain", "within the file")
	}
}

// TestGrainThatGrew: a codec may add to what it cannot compress, up to a whole grain more.
func TestGrainThatGrew(t *testing.T) {
	s := spec{disk: diskOf(2<<20, 1<<20, 64<<10), grain: 64 << 10, gtes: 512, plainTables: true, compressed: true, descriptor: ownDescriptor("x", 2<<20)}
	image := s.build()
	at := int64(decodeHeader(image).overHead) * sector
	stored := storedGrain(16*128, s.disk.Parts[0].Data)
	// Empty stored blocks of deflate in front of the others, five bytes each.
	grown := append(bytes.Clone(stored[:14]), bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 20_000)...)
	grown = append(grown, stored[14:]...)
	binary.LittleEndian.PutUint32(grown[8:], uint32(len(grown)-grainMarkerSize))
	img := openSource(t, formattest.Bytes(append(image[:at], append(grown, make([]byte, 4096)...)...)), nil)
	got := make([]byte, 64<<10)
	if err := img.ReadAt(t.Context(), got, 1<<20); err != nil || !bytes.Equal(got, s.disk.Parts[0].Data) {
		t.Errorf("wrong bytes or %v", err)
	}
}
