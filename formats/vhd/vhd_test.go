package vhd

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// conform makes a case of a builder's image, in which footer, copy and header are under checksums.
func conform(name string, b *builder, size int64) formattest.Case {
	image := b.build()
	c := formattest.Case{Name: name, Image: image, Disk: b.model(size)}
	n := int64(len(image))
	c.Checked = []formattest.Range{{Off: n - footerSize, End: n}}
	if b.kind != typeFixed {
		c.Checked = append(c.Checked, formattest.Range{Off: 0, End: 1536})
	}
	return c
}

func TestConformance(t *testing.T) {
	wide := &builder{kind: typeDynamic, size: 30 << 20, blockSize: 512 << 10, blocks: []block{patterned(44, 512<<10), patterned(7, 512<<10), patterned(8, 512<<10)}, gap: 4096}
	many := &builder{kind: typeDynamic, size: 40000 * 512, blockSize: 512}
	for i := range int64(200) {
		many.blocks = append(many.blocks, patterned(16300+i+i/50, 512))
	}
	chs := small()
	chs.app, chs.size, chs.geometry = "vpc ", 16384, geometry{cylinders: 1, heads: 3, sectors: 10}
	short := conform("511-byte footer", small(), small().size)
	short.Image = short.Image[:len(short.Image)-1]
	short.Checked[0] = formattest.Range{Off: int64(len(short.Image)) - shortFooterSize, End: int64(len(short.Image))}
	shortFixed := conform("511-byte footer of a fixed disk", fixedDisk(9<<10), 9<<10)
	shortFixed.Image, shortFixed.Checked = shortFixed.Image[:len(shortFixed.Image)-1], []formattest.Range{{Off: 9 << 10, End: 9<<10 + shortFooterSize}}
	formattest.Run(t, Driver{}, []formattest.Case{
		conform("fixed", fixedDisk(100<<10), 100<<10),
		conform("dynamic", small(), small().size),
		conform("empty", &builder{kind: typeDynamic, size: 1 << 20, blockSize: 4096}, 1<<20),
		conform("aligned blocks", wide, 30<<20),
		conform("many small blocks", many, 40000*512),
		conform("differencing", child(), child().size),
		conform("size by geometry", chs, 30*512),
		short, shortFixed,
	})
}

// The size is by geometry or by current_size, as the creator says: qemu's block/vpc.c.
func TestSizeRule(t *testing.T) {
	for _, c := range []struct {
		app      string
		geometry geometry
		want     int64
		rule     string
	}{
		{"vpc ", geometry{10, 4, 17}, 680 * 512, byGeometry},
		{"vs  ", geometry{10, 4, 17}, 680 * 512, byGeometry},
		{"qemu", geometry{10, 4, 17}, 680 * 512, byGeometry},
		{"vpc ", largest, 1 << 20, byCurrentSize},
		{"qemu", geometry{65535, 255, 16}, 1 << 20, byCurrentSize}, // the product decides, as with qemu
		{"qem2", geometry{10, 4, 17}, 1 << 20, byCurrentSize},
		{"win ", geometry{10, 4, 17}, 1 << 20, byCurrentSize},
		{"d2v ", geometry{10, 4, 17}, 1 << 20, byCurrentSize},
		{"tap\x00", geometry{10, 4, 17}, 1 << 20, byCurrentSize},
		{"CTXS", geometry{10, 4, 17}, 1 << 20, byCurrentSize},
		{"wa\x00\x00", geometry{10, 4, 17}, 1 << 20, byCurrentSize},
		{"vbox", geometry{10, 4, 17}, 1 << 20, byCurrentSize},
		{"\x00\x00\x00\x00", geometry{10, 4, 17}, 1 << 20, byCurrentSize},
	} {
		b := fixedDisk(1 << 20)
		b.app, b.geometry = c.app, c.geometry
		info := openImage(t, b.build()).Info()
		if info.Size != c.want || !slices.Contains(info.Details, formats.Detail{Key: "size_rule", Value: c.rule}) {
			t.Errorf("creator %q, geometry %v: %d bytes, %v; want %d by %s", c.app, c.geometry, info.Size, info.Details, c.want, c.rule)
		}
	}
}

// Azure's disks are fixed, of whole MiB, larger than any with a BAT may be, and say so with "wa" or "win ".
func TestAzuresFixedDisks(t *testing.T) {
	const size = 4095 << 30
	b := fixedDisk(0)
	b.size, b.app = size, "wa\x00\x00"
	src := formattest.Sparse{Bytes: size + 512, Parts: []formattest.Part{{Off: 0, Data: formattest.Pattern(0, 512)}, {Off: size - 1024, Data: formattest.Pattern(size-1024, 1024)}, {Off: size, Data: b.build()}}}
	img := openSource(t, src)
	p := make([]byte, 1024)
	if err := img.ReadAt(t.Context(), p, size-1024); err != nil || !bytes.Equal(p, formattest.Pattern(size-1024, 1024)) || img.Info().Size != size {
		t.Errorf("%d bytes, the last of them wrong or %v", img.Info().Size, err)
	}
}

func TestInfo(t *testing.T) {
	info := openImage(t, child().build()).Info()
	if info.ID != "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf" || info.ClusterSize != 8192 || info.Allocated != formats.Unknown || info.Compression != "" {
		t.Errorf("Info = %+v", info)
	}
	b := info.Backing
	if b == nil || b.ID != "01020300-0000-0000-0000-000000000000" || b.Format != "vhd" || !slices.Equal(b.Paths, []string{"base disk.vhd"}) {
		t.Errorf("Backing = %+v", b)
	}
	want := map[string]string{
		"subformat": "differencing", "creator_app": "win", "creator_os": "Wi2k", "creator_version": "10.0", "timestamp": "2022-03-07T20:26:40Z",
		"geometry": "0/4/17", "current_size": "32768", "original_size": "32768", "block_size": "8192", "max_table_entries": "4", "saved_state": "0",
	}
	for _, d := range info.Details {
		if w, ok := want[d.Key]; ok && w != d.Value {
			t.Errorf("%s is %q, want %q", d.Key, d.Value, w)
		}
		delete(want, d.Key)
	}
	if len(want) > 0 {
		t.Errorf("no details for %v", want)
	}
	info.Details[0].Value, info.Backing.Paths[0] = "changed", "changed"
}

// A footer that is lost costs nothing as long as its copy is there, and the image says so.
func TestCopyOfTheFooter(t *testing.T) {
	good := small().build()
	for name, image := range map[string][]byte{
		"footer cut off":   good[:len(good)-512],
		"cookie damaged":   with(good, len(good)-512, 0),
		"checksum damaged": with(good, len(good)-440, 0x55),
	} {
		img := openImage(t, image)
		got := make([]byte, img.Info().Size)
		if err := img.ReadAt(t.Context(), got, 0); err != nil || !bytes.Equal(got, flat(small().model(small().size))) {
			t.Errorf("%s: wrong bytes or %v", name, err)
		}
		details := img.Info().Details
		last := details[slices.IndexFunc(details, func(d formats.Detail) bool { return d.Key == "footer" })]
		if !strings.Contains(last.Value, "copy at 0") {
			t.Errorf("%s: %v", name, details)
		}
	}
}

// with is a copy of an image with one byte changed.
func with(image []byte, at int, b byte) []byte {
	image = bytes.Clone(image)
	image[at] = b
	return image
}

func flat(d formattest.Disk) []byte {
	b := make([]byte, d.Bytes)
	d.Fill(b, 0)
	return b
}

// What is stored is a run as far as a page of the table goes; what a differencing disk has not is for its parent.
func TestExtents(t *testing.T) {
	var got []formats.Extent
	img := openImage(t, child().build())
	for e, err := range formats.Extents(t.Context(), img, 0, img.Info().Size) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	data, hole := formats.Data, formats.Unallocated
	want := []formats.Extent{
		{Off: 0, Len: 512, State: data}, {Off: 512, Len: 512, State: hole}, {Off: 1024, Len: 512, State: data}, {Off: 1536, Len: 4 * 512, State: hole},
		{Off: 3584, Len: 5 * 512, State: data}, {Off: 6144, Len: 4 * 512, State: hole}, {Off: 8192, Len: 8192, State: data}, {Off: 16384, Len: 16384, State: hole},
	}
	if !slices.Equal(got, want) {
		t.Errorf("extents = %v, want %v", got, want)
	}
	empty := openImage(t, (&builder{kind: typeDynamic, size: 64 << 20, blockSize: 4096}).build())
	if e, err := empty.Extent(t.Context(), 5, 64<<20-5); err != nil || e.Len != 64<<20-5 || e.State != hole {
		t.Errorf("Extent of an empty disk = %v, %v", e, err)
	}
}

func TestProbe(t *testing.T) {
	for name, c := range map[string]struct {
		src  formattest.Bytes
		want bool
	}{
		"dynamic":                     {small().build(), true},
		"without the copy":            {with(small().build(), 0, 0), true},
		"fixed":                       {fixedDisk(4096).build(), true},
		"fixed with a bad checksum":   {with(fixedDisk(4096).build(), 4096+70, 0), true},
		"a cookie alone":              {formattest.Bytes("conectix"), true},
		"a disk":                      {make(formattest.Bytes, 4096), false},
		"a cookie in the wrong place": {with(append(make([]byte, 1024), fixedDisk(512).build()...), 2047, 1)[:2000], false},
	} {
		if got, err := (Driver{}).Probe(t.Context(), c.src); got != c.want || err != nil {
			t.Errorf("%s: Probe = %v, %v", name, got, err)
		}
	}
}
