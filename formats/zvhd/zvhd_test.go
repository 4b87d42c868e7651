package zvhd

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
	"github.com/imsfs/imsfs/formats/formattest"
)

// goldenFiles were written by the vendor's own tool, with zlib's level 1.
var goldenFiles = []string{"tiny", "odd", "zero"}

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

// openSource opens as the rest of the project does, through formats.Set.
func openSource(t testing.TB, src formats.Source) formats.Image {
	t.Helper()
	img, err := formats.Set{Drivers: []formats.Driver{New()}}.Open(t.Context(), src, "", formats.OpenOptions{})
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

// wantContent wants the disk in an image to read as the model does, where that has data.
func wantContent(t *testing.T, image []byte, want formattest.Disk) {
	t.Helper()
	img := openSource(t, formattest.Bytes(image))
	for _, part := range want.Parts {
		got := make([]byte, len(part.Data))
		if err := img.ReadAt(t.Context(), got, part.Off); err != nil || !bytes.Equal(got, part.Data) {
			t.Errorf("[%d, +%d): wrong bytes or %v", part.Off, len(got), err)
		}
	}
}

// goldenDisk is the model of a golden file. Its bytes come from the image itself; that they are the right ones is
// what TestGolden asserts.
func goldenDisk(t testing.TB, name string) formattest.Disk {
	t.Helper()
	return stored(t, openSource(t, formattest.Bytes(readFile(t, name+".zvhd"))))
}

// TestGolden reads every file of the vendor's and compares all of the disk with what went into it: the runs of
// units of 4096 bytes that are not all zeros, cut at original_size, by hash; and nothing else but zeros.
func TestGolden(t *testing.T) {
	for _, g := range goldenFiles {
		t.Run(g, func(t *testing.T) {
			want := readExpectation(t, g)
			img := openSource(t, formattest.Bytes(readFile(t, g+".zvhd")))
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
	img := openSource(t, formattest.Bytes(readFile(t, "tiny.zvhd")))
	got := img.Info()
	if got.Format != "zvhd" || got.ClusterSize != 256<<10 || got.Allocated != formats.Unknown || got.Compression != "zlib" {
		t.Errorf("Info = %+v", got)
	}
	want := map[string]string{
		"creator_app": "tap", "creator_version": "1.4", "timestamp": "2026-11-22T02:05:57Z", "uuid": "efff9d26-d979-4a36-ad57-ae3e9b97933b",
		"original_size": "16777216", "geometry": "481/4/17", "block_size": "2097152",
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
	for _, g := range []string{"odd", "zero"} { // tiny would take the race detector minutes
		image := readFile(t, g+".zvhd")
		cases = append(cases, formattest.Case{
			Name: g, Image: image, Disk: goldenDisk(t, g),
			Checked: []formattest.Range{{Off: 0, End: headerSize}},
		})
	}
	disk := smallDisk()
	cases = append(cases, formattest.Case{Name: "ours", Image: writeImage(t, disk, formats.CreateOptions{}), Disk: disk})
	formattest.Run(t, New(), cases)
}

func TestProbeClaims(t *testing.T) {
	image := readFile(t, "tiny.zvhd")
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
		{"short", []byte("stream"), false},
	} {
		got, err := New().Probe(t.Context(), formattest.Bytes(c.src))
		if got != c.want || err != nil {
			t.Errorf("Probe(%s) = %v, %v, want %v", c.name, got, err, c.want)
		}
	}
}

// TestDamagedHeaderStillOpens by its copy.
func TestDamagedHeaderStillOpens(t *testing.T) {
	image := readFile(t, "tiny.zvhd")
	clear(image[:unit])
	wantDisk(t, image, goldenDisk(t, "tiny"))
}

// TestBytesBehindTheCopyOfTheHeader are no harm: the vendor's reader ends there too.
func TestBytesBehindTheCopyOfTheHeader(t *testing.T) {
	for _, n := range []int{1, 512, 4096, 100_000} {
		wantDisk(t, append(readFile(t, "tiny.zvhd"), make([]byte, n)...), goldenDisk(t, "tiny"))
	}
}

// TestOpenReadsNoChunk: each would be a round trip over a network.
func TestOpenReadsNoChunk(t *testing.T) {
	src := &formattest.Counting{Source: formattest.Bytes(readFile(t, "tiny.zvhd"))}
	img := openSource(t, src)
	if src.Calls() > 4 || src.Read() > 2*headerSize+2*int64(len(cookie)) {
		t.Errorf("opening took %d reads of %d bytes", src.Calls(), src.Read())
	}
	before := src.Calls()
	for range 3 { // what was found once is remembered
		for e, err := range formats.Extents(t.Context(), img, 0, img.Info().Size) {
			if err != nil || e.Len == 0 {
				t.Fatal(e, err)
			}
		}
	}
	if n := src.Calls() - before; n != 7 {
		t.Errorf("listing the extents of 6 chunks took %d reads of the source, want 7", n)
	}
}
