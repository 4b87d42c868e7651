package vmdk

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// mixed is a disk with data at its start, in the middle, across a grain table and in its odd last sector.
func mixed(size int64) formattest.Disk {
	return diskOf(size, 0, 70_000, 1<<20, 4096, 2<<20-512, 300_032, size-512, 512)
}

// ownDescriptor is that of a single file.
func ownDescriptor(createType string, size int64) string {
	return describe(createType, fmt.Sprintf("RW %d SPARSE \"disk.vmdk\"", size/sector))
}

const oddSize = 3<<20 + 5*512

// single are the variants of one file.
func single() map[string]spec {
	all := map[string]spec{
		"hosted":            {plainTables: true, version: 1},
		"small tables":      {plainTables: true, gtes: 16},
		"small grains":      {plainTables: true, grain: 4096, gtes: 32},
		"odd tables":        {plainTables: true, grain: 4096, gtes: 5},
		"version 3, plain":  {plainTables: true, version: 3},
		"zeroed":            {plainTables: true, version: 2, zeroed: []int64{3, 4, 5, 20}},
		"stream":            {version: 3, compressed: true},
		"stream, tables":    {version: 3, compressed: true, gtes: 4},
		"stream, version 1": {version: 1, compressed: true, gtes: 4},
		"stream in front":   {version: 3, compressed: true, plainTables: true, short: true},
		"stream, zeroed":    {version: 3, compressed: true, gtes: 8, zeroed: []int64{3, 4, 30}},
		"footer, plain":     {version: 1, gtes: 4},
	}
	disk := mixed(oddSize)
	for name, s := range all {
		s.disk = disk
		if s.grain == 0 {
			s.grain = 64 << 10
		}
		if s.gtes == 0 {
			s.gtes = 512
		}
		s.descriptor = ownDescriptor("monolithicSparse", oddSize)
		if s.compressed {
			s.descriptor = ownDescriptor("streamOptimized", oddSize)
		}
		all[name] = s
	}
	return all
}

// several is an image of all types of extents, and its disk.
func several() (text string, beside files, disk formattest.Disk) {
	disk = mixed(oddSize)
	plain := make([]byte, oddSize)
	disk.Fill(plain, 0)
	at := func(off, n int64) formattest.Disk { return formattest.Flat(plain[off : off+n]) }
	beside = files{
		"flat.vmdk": formattest.Bytes(append(make([]byte, 512), plain[:700*512]...)),
		"a b.vmdk":  formattest.Bytes(spec{disk: at(700*512, 1000*512), grain: 64 << 10, gtes: 512, plainTables: true}.build()),
		"c.vmdk":    formattest.Bytes(spec{disk: at(1700*512, 1348*512), grain: 8 << 10, gtes: 128, compressed: true}.build()),
		"vmfs.vmdk": formattest.Bytes(append([]byte(nil), plain[3048*512:]...)),
	}
	// A hole of zeros instead of what the disk has there.
	disk.Bytes += 9 * 512
	text = describe("custom", `RW 700 FLAT "flat.vmdk" 1`, `rw 1000 sparse "a b.vmdk"`, "RDONLY 1348\tSPARSE  \"c.vmdk\"\r",
		fmt.Sprintf(`RW %d VMFS "vmfs.vmdk"`, oddSize/512-3048), "# a comment", "RW 9 ZERO")
	return text, beside, disk
}

func cases() []formattest.Case {
	var all []formattest.Case
	for name, s := range single() {
		image := s.build()
		c := formattest.Case{Name: name, Image: image, Disk: s.disk}
		if s.compressed {
			c.Checked = payloads(image, s)
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b formattest.Case) int { return strings.Compare(a.Name, b.Name) })
	text, beside, disk := several()
	// A descriptor without its last lines is one of a smaller disk.
	return append(all, formattest.Case{Name: "several", Image: []byte(text), Disk: disk, Open: formats.OpenOptions{Files: beside}, PrefixValid: true})
}

// payloads are where the compressed bytes of the first and the last grain lie: zlib's checksum covers them.
func payloads(image []byte, s spec) []formattest.Range {
	var all []formattest.Range
	grains := s.stored()
	for _, g := range []int64{grains[0], grains[len(grains)-1]} {
		plain := make([]byte, s.grain)
		s.disk.Fill(plain, g*s.grain)
		if s.short {
			plain = plain[:min(s.grain, s.disk.Bytes-g*s.grain)]
		}
		stored := storedGrain(g*s.grain/sector, plain)
		at := int64(strings.Index(string(image), string(stored)))
		all = append(all, formattest.Range{Off: at + grainMarkerSize, End: at + int64(len(stored))})
	}
	return all
}

func TestConformance(t *testing.T) { formattest.Run(t, New(), cases()) }

func TestInfo(t *testing.T) {
	s := single()["stream"]
	info := openSource(t, formattest.Bytes(s.build()), nil).Info()
	if info.Format != "vmdk" || info.Size != oddSize || info.ClusterSize != 64<<10 || info.Compression != "zlib" || info.ID != "1234abcd" ||
		info.Backing != nil || info.Allocated != formats.Unknown {
		t.Errorf("Info = %+v", info)
	}
	want := []formats.Detail{
		{Key: "cid", Value: "1234abcd"}, {Key: "parent_cid", Value: "ffffffff"}, {Key: "create_type", Value: "streamOptimized"},
		{Key: "ddb_adaptertype", Value: "ide"}, {Key: "extents", Value: "1"},
		{Key: "extent_0", Value: "SPARSE version 3, 3148288 bytes in grains of 65536, compressed"},
	}
	if !slices.Equal(info.Details, want) {
		t.Errorf("Details = %v, want %v", info.Details, want)
	}
	text, beside, _ := several()
	info = openSource(t, formattest.Bytes(text), beside).Info()
	if info.ClusterSize != 8<<10 || info.Compression != "zlib" {
		t.Errorf("Info of several extents = %+v", info)
	}
	if got := info.Details[len(info.Details)-5].Value; got != `FLAT 358400 bytes in "flat.vmdk" at 512` {
		t.Errorf("the first of several extents is called %s", got)
	}
}

func TestBacking(t *testing.T) {
	s := single()["zeroed"]
	s.descriptor = strings.Replace(s.descriptor, "parentCID=ffffffff", "parentCID=a1b2\nparentFileNameHint=\"base disk.vmdk\"", 1)
	info := openSource(t, formattest.Bytes(s.build()), nil).Info()
	if b := info.Backing; b == nil || !slices.Equal(b.Paths, []string{"base disk.vmdk"}) || b.ID != "0000a1b2" || b.Format != "vmdk" {
		t.Errorf("Backing = %+v", b)
	}
}

// TestHeaderFieldsAgreeWithTheCodec: the table, decodeHeader and encode are three accounts of one layout.
func TestHeaderFieldsAgreeWithTheCodec(t *testing.T) {
	end := 0
	for _, f := range fields {
		if f.off != end {
			t.Fatalf("field %s starts at %d, the one before ends at %d", f.name, f.off, end)
		}
		end += f.size
	}
	if end != headerSize {
		t.Fatalf("the fields end at %d of %d", end, headerSize)
	}
	b := make([]byte, headerSize)
	for i := range b[:fieldOffset("pad")] {
		b[i] = byte(i + 1)
	}
	copy(b, magic)
	h := decodeHeader(b)
	if got := h.encode(); string(got) != string(b) {
		t.Errorf("encode gives\n%x, want\n%x", got, b)
	}
}

// TestNeighboursAreReadAtOnce counts what a read of 1 MiB costs the source once its tables are known.
func TestNeighboursAreReadAtOnce(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		s := spec{disk: diskOf(4<<20, 0, 4<<20), grain: 64 << 10, gtes: 512, plainTables: !compressed, compressed: compressed, descriptor: ownDescriptor("x", 4<<20)}
		src := &formattest.Counting{Source: formattest.Bytes(s.build())}
		img := openSource(t, src, nil)
		p := make([]byte, 1<<20)
		for i := range 3 {
			before := src.Calls()
			if err := img.ReadAt(t.Context(), p, int64(i)<<20); err != nil {
				t.Fatal(err)
			}
			if n := src.Calls() - before; i > 0 && n != 1 {
				t.Errorf("compressed %v: 1 MiB took %d reads", compressed, n)
			}
		}
	}
}

// TestTablesComeInPages walks a disk with more tables than come in one read.
func TestTablesComeInPages(t *testing.T) {
	const size = 40 * 16 * 4096
	s := spec{disk: diskOf(size, 0, size), grain: 4096, gtes: 16, plainTables: true, descriptor: ownDescriptor("x", size)}
	src := &formattest.Counting{Source: formattest.Bytes(s.build())}
	img := openSource(t, src, nil)
	before := src.Calls()
	n := 0
	for _, err := range formats.Extents(t.Context(), img, 0, size) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if calls := src.Calls() - before; n != 1 || calls != 2 { // 40 tables, 32 a page
		t.Errorf("%d extents in %d reads, want 1 in 2", n, calls)
	}
}
