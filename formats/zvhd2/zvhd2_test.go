package zvhd2

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/formats/zstream"
)

// goldenFiles were written by the vendor's own tool; the second column is the file of what they must read as.
var goldenFiles = []struct{ name, expect string }{
	{"tiny", "tiny"}, {"tiny-zlib", "tiny"}, {"tiny-full-index", "tiny"}, {"odd", "odd"}, {"wide", "wide"}, {"zero", "zero"},
}

// expectation is what the vendor's raw input held.
type expectation struct {
	OriginalSize int64 `json:"original_size"`
	CurrentSize  int64 `json:"current_size"`
	Extents      []struct {
		Offset, Length int64
		SHA256         string
	} `json:"nonzero_extents"`
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readExpectation(t testing.TB, name string) expectation {
	t.Helper()
	var e expectation
	if err := json.Unmarshal(readFile(t, name+".expect.json"), &e); err != nil {
		t.Fatal(err)
	}
	return e
}

func newDriver() *Driver { return New(codec.NewZstd()) }

// openSource opens as the rest of the project does, through formats.Set.
func openSource(t testing.TB, src formats.Source) formats.Image {
	t.Helper()
	img, err := formats.Set{Drivers: []formats.Driver{newDriver()}}.Open(t.Context(), src, "", formats.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// stored reads the blocks that an image stores: all that its disk holds.
func stored(t testing.TB, img formats.Image) formattest.Disk {
	t.Helper()
	disk := formattest.Disk{Bytes: img.Info().Size}
	for e, err := range formats.Extents(t.Context(), img, 0, disk.Bytes) {
		if err != nil {
			t.Fatal(err)
		}
		if e.State != formats.Data {
			continue
		}
		p := make([]byte, e.Len)
		if err := img.ReadAt(t.Context(), p, e.Off); err != nil {
			t.Fatal(err)
		}
		disk.Parts = append(disk.Parts, formattest.Part{Off: e.Off, Data: p})
	}
	return disk
}

// wantDisk wants the disk in an image to hold this in its data extents, and to have no others.
func wantDisk(t *testing.T, image []byte, want formattest.Disk) {
	t.Helper()
	got := stored(t, openSource(t, formattest.Bytes(image)))
	if got.Bytes != want.Bytes || !slices.EqualFunc(got.Parts, want.Parts, func(a, b formattest.Part) bool {
		return a.Off == b.Off && bytes.Equal(a.Data, b.Data)
	}) {
		t.Errorf("the disk of %d bytes in %d runs differs from the one of %d bytes in %d runs", got.Bytes, len(got.Parts), want.Bytes, len(want.Parts))
	}
}

// goldenDisk is the model of a golden file. Its bytes come from the image itself; that they are the right ones is
// what TestGolden asserts.
func goldenDisk(t testing.TB, name string) formattest.Disk {
	t.Helper()
	return stored(t, openSource(t, formattest.Bytes(readFile(t, name+".zvhd2"))))
}

// TestGolden reads every file of the vendor's and compares all of the disk with what went into it: the runs of
// units of 4096 bytes that are not all zeros, cut at original_size, by hash; and nothing else but zeros.
func TestGolden(t *testing.T) {
	for _, g := range goldenFiles {
		t.Run(g.name, func(t *testing.T) {
			want := readExpectation(t, g.expect)
			img := openSource(t, formattest.Bytes(readFile(t, g.name+".zvhd2")))
			if got := img.Info().Size; got != want.CurrentSize {
				t.Errorf("size = %d, want %d", got, want.CurrentSize)
			}
			runs := nonZeroRuns(stored(t, img), want.OriginalSize)
			if len(runs) != len(want.Extents) {
				t.Fatalf("%d runs that are not zeros, want %d", len(runs), len(want.Extents))
			}
			for i, w := range want.Extents {
				sum := sha256.Sum256(runs[i].Data)
				if runs[i].Off != w.Offset || int64(len(runs[i].Data)) != w.Length || hex.EncodeToString(sum[:]) != w.SHA256 {
					t.Errorf("run %d is [%d, +%d) %x, want [%d, +%d) %s", i, runs[i].Off, len(runs[i].Data), sum, w.Offset, w.Length, w.SHA256)
				}
			}
		})
	}
}

// nonZeroRuns finds the maximal runs of 4096-byte units that are not zeros. What lies in the last unit behind the
// end of the original disk is cut off if it is zeros.
func nonZeroRuns(disk formattest.Disk, end int64) []formattest.Part {
	var runs []formattest.Part
	zeros := make([]byte, unit)
	for _, part := range disk.Parts {
		for at := 0; at < len(part.Data); at += unit {
			off, data := part.Off+int64(at), part.Data[at:at+unit]
			if bytes.Equal(data, zeros) {
				continue
			}
			if over := off + unit - end; over > 0 && bytes.Equal(data[unit-over:], zeros[:over]) {
				data = data[:unit-over]
			}
			if n := len(runs); n > 0 && runs[n-1].End() == off {
				runs[n-1].Data = append(runs[n-1].Data, data...)
				continue
			}
			runs = append(runs, formattest.Part{Off: off, Data: bytes.Clone(data)})
		}
	}
	return runs
}

func TestInfo(t *testing.T) {
	img := openSource(t, formattest.Bytes(readFile(t, "tiny-zlib.zvhd2")))
	got := img.Info()
	if got.Format != "zvhd2" || got.ClusterSize != 2<<20 || got.Allocated != 6*2<<20 || got.Compression != "zlib" {
		t.Errorf("Info = %+v", got)
	}
	want := map[string]string{
		"creator_app": "tap", "creator_version": "1.4", "timestamp": "2026-11-22T02:05:57Z", "uuid": "c886c4c4-2d20-4991-b008-0a4f52551e06",
		"original_size": "16777216", "geometry": "481/4/17", "block_size": "2097152", "max_blk_num": "8",
		"non_zero_blk_num": "6", "index_contains_zero_blk": "0", "compress_method": "zlib",
	}
	for _, d := range got.Details {
		if d.Value != want[d.Key] {
			t.Errorf("detail %s = %q, want %q", d.Key, d.Value, want[d.Key])
		}
		delete(want, d.Key)
	}
	if len(want) > 0 {
		t.Errorf("details missing: %v", want)
	}
}

func TestConformance(t *testing.T) {
	var cases []formattest.Case
	for _, g := range goldenFiles {
		image := readFile(t, g.name+".zvhd2")
		last := int64(len(image)) - unit
		cases = append(cases, formattest.Case{
			Name: g.name, Image: image, Disk: goldenDisk(t, g.name), Maximal: true,
			Checked: []formattest.Range{{Off: last, End: last + footerSize}},
		})
	}
	cases = append(cases, ourCase(t))
	formattest.Run(t, newDriver(), cases)
}

// ourCase is an image of our own writing, in which a checksum covers the payloads too.
func ourCase(t testing.TB) formattest.Case {
	t.Helper()
	disk := formattest.Disk{Bytes: 3 << 30, Parts: []formattest.Part{
		{Off: 1 << 20, Data: formattest.Pattern(1<<20, 3<<20)},
		{Off: 1<<30 - 512, Data: formattest.Pattern(1<<30-512, 1024)},
		{Off: 3<<30 - 4096, Data: formattest.Pattern(3<<30-4096, 4096)},
	}}
	image := writeImage(t, disk, formats.CreateOptions{})
	c := formattest.Case{Name: "ours", Image: image, Disk: disk, Maximal: true}
	last := int64(len(image)) - unit
	c.Checked = append(c.Checked, formattest.Range{Off: last, End: last + footerSize})
	for _, r := range refsOf(t, image) {
		h, problem := zstream.DecodeChunkHead(image[r.off:])
		if problem != "" {
			t.Fatal(problem)
		}
		c.Checked = append(c.Checked, formattest.Range{Off: r.off + zstream.ChunkHeaderSize, End: r.off + zstream.ChunkHeaderSize + int64(h.Compressed)})
	}
	return c
}

func TestProbeClaims(t *testing.T) {
	image := readFile(t, "tiny.zvhd2")
	zeros := make([]byte, unit)
	for _, c := range []struct {
		name string
		src  []byte
		want bool
	}{
		{"whole", image, true},
		{"truncated", image[:100_000], true},
		{"header only", image[:512], true},
		{"cookie only", []byte(cookie), true},
		{"header lost", append(bytes.Clone(zeros), image[unit:]...), true},
		{"zeros", zeros, false},
		{"other", bytes.Repeat([]byte("conectix"), 1024), false},
		{"empty", nil, false},
		{"short", []byte("z2strm"), false},
	} {
		got, err := newDriver().Probe(t.Context(), formattest.Bytes(c.src))
		if got != c.want || err != nil {
			t.Errorf("Probe(%s) = %v, %v, want %v", c.name, got, err, c.want)
		}
	}
}

// TestDamagedHeaderStillOpens: readers start at the final footer, so the header is for check.
func TestDamagedHeaderStillOpens(t *testing.T) {
	image := readFile(t, "tiny.zvhd2")
	clear(image[:unit])
	openSource(t, formattest.Bytes(image))
}

func TestAbsentBlocksNeverTouchTheSource(t *testing.T) {
	src := &formattest.Counting{Source: formattest.Bytes(readFile(t, "wide.zvhd2"))}
	img := openSource(t, src)
	before := src.Calls()
	p := make([]byte, 8<<20)
	for _, off := range []int64{2 << 20, 32769 * 2 << 20, 60000*2<<20 + 1} {
		if err := img.ReadAt(t.Context(), p, off); err != nil {
			t.Fatal(err)
		}
		if _, err := img.Extent(t.Context(), off, img.Info().Size-off); err != nil {
			t.Fatal(err)
		}
	}
	if after := src.Calls(); after != before {
		t.Errorf("absent blocks cost %d reads of the source", after-before)
	}
}
