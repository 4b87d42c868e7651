package vhd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// wantRefused opens an image, and reads all of it if that works: one of them must fail, by these words.
func wantRefused(t *testing.T, image []byte, kind error, words ...string) {
	t.Helper()
	img, err := formats.Set{Drivers: []formats.Driver{Driver{}}}.Open(t.Context(), formattest.Bytes(image), name, formats.OpenOptions{})
	if err == nil {
		p := make([]byte, img.Info().Size)
		err = img.ReadAt(t.Context(), p, 0)
		if e, extentErr := img.Extent(t.Context(), 0, img.Info().Size); err != nil && extentErr == nil && e.Len == img.Info().Size {
			t.Errorf("the whole disk is one extent, though reading it fails: %v", err)
		}
	}
	if !errors.Is(err, kind) {
		t.Fatalf("%v: is not %q", err, kind)
	}
	for _, w := range append(words, "vhd: ") {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not name %q", err, w)
		}
	}
}

// changed is an image of small, or of child, with footer and header changed and sealed again.
func changed(b *builder, change func(f *footer, h *header)) []byte {
	b.change = change
	return b.build()
}

func TestHostileFields(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(f *footer, h *header)
		kind   error
		words  string
	}{
		{"version", func(f *footer, _ *header) { f.version = 0x20000 }, errors.ErrUnsupported, "version 2.0"},
		{"type 0", func(f *footer, _ *header) { f.diskType = 0 }, errors.ErrUnsupported, "type 0"},
		{"type 6", func(f *footer, _ *header) { f.diskType = 6 }, errors.ErrUnsupported, "type 6"},
		{"no size", func(f *footer, _ *header) { f.currentSize = 511 }, formats.ErrCorrupt, "current_size is 511"},
		{"no geometry", func(f *footer, _ *header) { copy(f.creatorApp[:], "vpc "); f.geometry.heads = 0 }, formats.ErrCorrupt, "geometry is"},
		{"geometry of more blocks", func(f *footer, _ *header) { copy(f.creatorApp[:], "qemu"); f.geometry = geometry{2, 16, 63} }, formats.ErrCorrupt, "max_table_entries is 4"},
		{"2040 GiB and more", func(f *footer, h *header) { f.currentSize = maxSize + 512 }, formats.ErrCorrupt, "current_size is 2190433321472"},
		{"size above all", func(f *footer, _ *header) { f.currentSize = 1<<64 - 1 }, formats.ErrCorrupt, "current_size"},
		{"header in the copy", func(f *footer, _ *header) { f.dataOffset = 511 }, formats.ErrCorrupt, "data_offset is 511"},
		{"header after the end", func(f *footer, _ *header) { f.dataOffset = 1 << 40 }, formats.ErrCorrupt, "data_offset"},
		{"header at the end of numbers", func(f *footer, _ *header) { f.dataOffset = 1<<64 - 1 }, formats.ErrCorrupt, "data_offset"},
		{"no header there", func(f *footer, _ *header) { f.dataOffset = 513 }, formats.ErrCorrupt, "header: cookie"},
		{"header_version", func(_ *footer, h *header) { h.version = 0x10001 }, errors.ErrUnsupported, "header_version 1.1"},
		{"block_size 0", func(_ *footer, h *header) { h.blockSize = 0 }, formats.ErrCorrupt, "block_size is 0"},
		{"block_size 256", func(_ *footer, h *header) { h.blockSize = 256 }, formats.ErrCorrupt, "block_size is 256"},
		{"block_size no power", func(_ *footer, h *header) { h.blockSize = 4096 + 512 }, formats.ErrCorrupt, "block_size is 4608"},
		{"block_size huge", func(_ *footer, h *header) { h.blockSize = 1 << 31 }, formats.ErrCorrupt, "block_size"},
		{"too few entries", func(_ *footer, h *header) { h.maxTableEntries = 3 }, formats.ErrCorrupt, "max_table_entries is 3"},
		{"too many entries", func(_ *footer, h *header) { h.maxTableEntries = 1<<32 - 1 }, formats.ErrCorrupt, "table_offset"},
		{"BAT in the copy", func(_ *footer, h *header) { h.tableOffset = 500 }, formats.ErrCorrupt, "table_offset is 500"},
		{"BAT in the header", func(_ *footer, h *header) { h.tableOffset = 1535 }, formats.ErrCorrupt, "table_offset is 1535"},
		{"BAT around the header", func(_ *footer, h *header) { h.tableOffset, h.maxTableEntries = 512, 1000 }, formats.ErrCorrupt, "table_offset is 512"},
		{"BAT after the end", func(_ *footer, h *header) { h.tableOffset = 1 << 50 }, formats.ErrCorrupt, "table_offset"},
		{"BAT at the end of numbers", func(_ *footer, h *header) { h.tableOffset = 1<<64 - 8 }, formats.ErrCorrupt, "table_offset"},
	} {
		t.Run(c.name, func(t *testing.T) { wantRefused(t, changed(small(), c.change), c.kind, c.words) })
	}
}

func TestHostileEntries(t *testing.T) {
	good := small().build() // 4 entries at 1536, a block at 2048, one at 6656, the footer at 11264
	if len(good) != 11264+512 {
		t.Fatalf("%d bytes", len(good))
	}
	for _, c := range []struct {
		sector uint32
		words  string
	}{
		{0, "overlap the copy of the footer"},
		{1, "overlap the header"},
		{2, "overlap the header"},
		{3, "overlap the BAT"},
		{14, "end of the data at 0x2c00"},
		{23, "end of the data"},
		{1 << 20, "end of the data"},
		{1<<32 - 2, "end of the data"},
	} {
		image := bytes.Clone(good)
		binary.BigEndian.PutUint32(image[1536:], c.sector)
		wantRefused(t, image, formats.ErrCorrupt, fmt.Sprintf("at %#x: BAT: block 0", 1536), c.words)
		if _, err := openImage(t, image).Extent(t.Context(), 4096, 4096); err != nil {
			t.Errorf("entry %d spoils another block: %v", c.sector, err)
		}
	}
}

func TestHostileFooters(t *testing.T) {
	fixed := fixedDisk(8192)
	dynamic := small().build()
	other := *small()
	other.change = func(f *footer, _ *header) { f.uuid[0]++ }
	for name, c := range map[string]struct {
		image []byte
		words []string
	}{
		"nothing":            {make([]byte, 4096), []string{"footer: cookie", "copy at 0: cookie"}},
		"too small":          {[]byte("conectix"), []string{"8 bytes"}},
		"empty":              {nil, []string{"0 bytes"}},
		"fixed, checksum":    {with(fixed.build(), 8192+80, 1), []string{"checksum is"}},
		"fixed, cut short":   {fixed.build()[1024:], []string{"at most the 7168 bytes"}},
		"fixed, footer lost": {fixed.build()[:8000], []string{"footer: cookie"}},
		// A dynamic disk cut short where its guest has a footer, be it of a fixed disk or of a dynamic one.
		"a fixed disk inside":   {append(bytes.Clone(dynamic[:8192]), fixed.build()[8192:]...), []string{"not one disk", "type 2", "type 3"}},
		"a dynamic disk inside": {append(bytes.Clone(dynamic[:8192]), other.build()[:512]...), []string{"not one disk"}},
		"a footer and no disk":  {fixed.build()[8192:], []string{"at most the 0 bytes"}},
		// A fixed disk whose guest wrote the footer of one in front, and whose own is lost.
		"a fixed footer in front": {append(otherFixedFooter(), make([]byte, 16384)...), []string{"a fixed disk has none"}},
	} {
		t.Run(name, func(t *testing.T) {
			wantRefused(t, c.image, formats.ErrCorrupt, c.words...)
			found := checkImage(t, c.image)
			if len(found) == 0 {
				t.Error("check finds nothing wrong")
			}
		})
	}
}

// otherFixedFooter is the footer of a fixed disk of 8 KiB that is not any other's.
func otherFixedFooter() []byte {
	f, _ := fixedDisk(8192).parts()
	f.uuid[0]++
	return f.encode()
}

// A fixed disk is its guest's from the first byte on, even if that begins with a footer.
func TestFixedDiskThatBeginsWithAFooter(t *testing.T) {
	b := fixedDisk(8192)
	copy(b.disk, otherFixedFooter())
	got := make([]byte, 8192)
	if err := openImage(t, b.build()).ReadAt(t.Context(), got, 0); err != nil || !bytes.Equal(got, b.disk) {
		t.Errorf("other bytes or %v", err)
	}
}

func TestHostileLocators(t *testing.T) {
	for words, l := range map[string]locator{
		"(\"W2ru\") has 65537 bytes":  {code: [4]byte{'W', '2', 'r', 'u'}, bytes: 65537, offset: 4096},
		"is [0xffffffffffffffff, +2)": {code: [4]byte{'W', '2', 'r', 'u'}, bytes: 2, offset: 1<<64 - 1},
		"is [0x0, +2)":                {code: [4]byte{'a', 'b', 'c', 'd'}, bytes: 2},
		"is [0x100000, +10)":          {code: [4]byte{'W', 'i', '2', 'k'}, bytes: 10, offset: 1 << 20},
	} {
		wantRefused(t, changed(child(), func(_ *footer, h *header) { h.locators[7] = l }), formats.ErrCorrupt, "parent locator 7", words)
	}
}

// TestOpenIsBounded opens a huge sparse file whose table of 16 GiB no memory holds.
func TestOpenIsBounded(t *testing.T) {
	b := &builder{kind: typeDynamic, size: maxSize, blockSize: 512}
	f, h := b.parts()
	table := int64(h.maxTableEntries) * 4
	ones := bytes.Repeat([]byte{0xff}, pageSize)
	src := formattest.Sparse{Bytes: 1536 + table + 512, Parts: []formattest.Part{
		{Off: 0, Data: f.encode()}, {Off: 512, Data: h.encode()}, {Off: 1536, Data: ones}, {Off: 1536 + table, Data: f.encode()},
	}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	img := openSource(t, src)
	e, err := img.Extent(t.Context(), 0, maxSize)
	if err != nil || e.Len != pageSize/4*512 {
		t.Errorf("Extent = %v, %v", e, err)
	}
	if _, err := img.Extent(t.Context(), e.Len, 512); !errors.Is(err, formats.ErrCorrupt) {
		t.Errorf("a table of zeros: %v", err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}
