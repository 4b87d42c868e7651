package vmdk

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// parts is a formats.Target that keeps what is written and nothing of the holes.
type parts struct {
	all  []formattest.Part
	size int64
}

func (p *parts) WriteAt(b []byte, off int64) (int, error) {
	p.all = append(p.all, formattest.Part{Off: off, Data: bytes.Clone(b)})
	return len(b), nil
}

func (p *parts) Truncate(size int64) error {
	p.size = size
	return nil
}

// source is the file that was written. No two writes may overlap or go behind its end.
func (p *parts) source(t testing.TB) formattest.Sparse {
	t.Helper()
	slices.SortFunc(p.all, func(a, b formattest.Part) int { return int(a.Off/sector - b.Off/sector) })
	end := int64(0)
	for _, w := range p.all {
		if w.Off < end {
			t.Fatalf("a write at %#x over one that ends at %#x", w.Off, end)
		}
		end = w.End()
	}
	if end > p.size {
		t.Fatalf("a write ends at %#x, the file at %#x", end, p.size)
	}
	return formattest.Sparse{Bytes: p.size, Parts: p.all}
}

func options(subformat string) formats.CreateOptions {
	return formats.CreateOptions{UUID: [16]byte([]byte("0123456789abcdef")), Set: map[string]string{subformatOption: subformat}}
}

// write writes a disk as a caller of Encoder does.
func write(t testing.TB, disk formattest.Disk, opts formats.CreateOptions) *parts {
	t.Helper()
	e, err := New().Create(disk.Bytes, opts)
	if err != nil {
		t.Fatal(err)
	}
	dst, plain := new(parts), make([]byte, grainBytes)
	for _, g := range (spec{disk: disk, grain: grainBytes}).stored() {
		disk.Fill(plain, g*grainBytes)
		chunk, err := e.Encode(nil, plain, g)
		if err != nil {
			t.Fatal(err)
		}
		off, err := e.Place(g, len(chunk))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dst.WriteAt(chunk, off); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Finish(t.Context(), dst); err != nil {
		t.Fatal(err)
	}
	return dst
}

var created = map[string]formattest.Disk{
	"one sector":        diskOf(512, 0, 512),
	"empty":             diskOf(1 << 20),
	"mixed":             mixed(oddSize),
	"several tables":    diskOf(200<<20, 32<<20-512, 1024, 100<<20, 70_000, 200<<20-4096, 4096),
	"every table":       diskOf(128<<20, 0, 4096, 32<<20, 4096, 64<<20, 4096, 96<<20, 4096),
	"130 GiB, the last": diskOf(130<<30, 130<<30-4096, 4096),
	"62 TiB, empty":     diskOf(maxCreateSize),
}

func TestWhatIsWrittenReadsBack(t *testing.T) {
	for _, subformat := range subformats() {
		for name, disk := range created {
			t.Run(subformat+"/"+name, func(t *testing.T) {
				src := write(t, disk, options(subformat)).source(t)
				if disk.Bytes < 1<<40 { // a directory of 62 TiB is right, and long
					formattest.WantProblems(t, checkImage(t, src, nil))
				}
				img := openSource(t, src, nil)
				if info := img.Info(); info.Size != disk.Bytes || info.ID != "30313233" || info.Details[2].Value != subformat {
					t.Errorf("Info = %+v", info)
				}
				wantDisk(t, img, disk)
			})
		}
	}
}

// wantDisk reads the parts and what is around them.
func wantDisk(t *testing.T, img formats.Image, disk formattest.Disk) {
	t.Helper()
	for _, p := range disk.Parts {
		from, to := max(0, p.Off-1000), min(disk.Bytes, p.End()+1000)
		got, want := make([]byte, to-from), make([]byte, to-from)
		disk.Fill(want, from)
		if err := img.ReadAt(t.Context(), got, from); err != nil || !bytes.Equal(got, want) {
			t.Errorf("[%d, %d): other bytes or %v", from, to, err)
		}
	}
}

// TestQemuReadsWhatIsWritten has qemu-img check and compare it.
func TestQemuReadsWhatIsWritten(t *testing.T) {
	for _, subformat := range subformats() {
		for _, name := range []string{"one sector", "mixed", "several tables"} {
			t.Run(subformat+"/"+name, func(t *testing.T) {
				disk := created[name]
				dir := t.TempDir()
				path, raw := filepath.Join(dir, "disk.vmdk"), filepath.Join(dir, "raw")
				save(t, path, formattest.Disk(write(t, disk, options(subformat)).source(t)))
				save(t, raw, disk)
				qemu(t, "qemu-img", "check", "-f", "vmdk", path)
				qemu(t, "qemu-img", "compare", "-f", "raw", "-F", "vmdk", raw, path)
			})
		}
	}
}

// TestQemuReadsTheEndOfALargeDisk: comparing all of it takes qemu-img half a minute.
func TestQemuReadsTheEndOfALargeDisk(t *testing.T) {
	disk := created["130 GiB, the last"]
	last := disk.Parts[0]
	for _, subformat := range subformats() {
		dir := t.TempDir()
		path, out := filepath.Join(dir, "disk.vmdk"), filepath.Join(dir, "out")
		save(t, path, formattest.Disk(write(t, disk, options(subformat)).source(t)))
		skip := fmt.Sprintf("skip=%d", last.Off/4096)
		qemu(t, "qemu-img", "dd", "-f", "vmdk", "-O", "raw", "bs=4096", skip, "if="+path, "of="+out)
		if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, last.Data) {
			t.Errorf("%s: qemu-img reads %d other bytes: %v", subformat, len(got), err)
		}
	}
}

func save(t *testing.T, path string, d formattest.Disk) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(d.Bytes); err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Parts {
		if _, err := f.WriteAt(p.Data, p.Off); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLikeQemus compares the front of a monolithicSparse file with what qemu-img makes: header, directories, tables.
func TestLikeQemus(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.vmdk")
	qemu(t, "qemu-img", "create", "-q", "-f", "vmdk", path, "200M")
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	src := write(t, diskOf(200<<20), options(monolithicSparse)).source(t)
	got := make([]byte, src.Bytes)
	formattest.Disk(src).Fill(got, 0)
	clear(got[sector : 21*sector])
	clear(want[sector : 21*sector])
	if !bytes.Equal(got, want) {
		t.Error("the file differs from qemu's in more than the descriptor")
	}
}

// TestGolden: the same disk gives the same bytes, for ever.
func TestGolden(t *testing.T) {
	for subformat, want := range map[string]string{
		monolithicSparse: "ad453461c92ba7043351229c02cb585b59a50ade6a7d2398417cbd10b97b5e4e",
		streamOptimized:  "958111d72b9a9f78a7c68b1ffaee67e0882bf3fa65cc1c788811c2af41df4b22",
	} {
		for range 2 {
			src := write(t, diskOf(40<<20, 0, 70_000, 33<<20, 512), options(subformat)).source(t)
			image := make([]byte, src.Bytes)
			formattest.Disk(src).Fill(image, 0)
			sum := sha256.Sum256(image)
			if got := hex.EncodeToString(sum[:]); got != want {
				t.Errorf("%s: %s, want %s", subformat, got, want)
			}
		}
	}
}

func TestDescriptorsAreWrittenAsAsked(t *testing.T) {
	opts := options(streamOptimized)
	opts.Set[adapterOption], opts.Set[hwVersionOption] = "lsilogic", "13"
	src := write(t, diskOf(1<<30), opts).source(t)
	text := make([]byte, 600)
	formattest.Disk(src).Fill(text, sector)
	want := `# Disk DescriptorFile
version=1
CID=30313233
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW 2097152 SPARSE "disk.vmdk"

# The Disk Data Base
#DDB

ddb.virtualHWVersion = "13"
ddb.geometry.cylinders = "130"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
ddb.adapterType = "lsilogic"
ddb.toolsVersion = "2147483647"
ddb.uuid = "30 31 32 33 34 35 36 37-38 39 61 62 63 64 65 66"
`
	if got := string(bytes.Trim(text, "\x00")); got != want {
		t.Errorf("the descriptor is\n%s\nwant\n%s", got, want)
	}
	for file, want := range map[string]string{
		"": "disk.vmdk", "web 1.vmdk": "web 1.vmdk", "系统.vmdk": "系统.vmdk", "a\"b": "disk.vmdk", "a\nb": "disk.vmdk", "\xff": "disk.vmdk",
		strings.Repeat("x", 256): "disk.vmdk",
	} {
		opts := options(monolithicSparse)
		opts.Name = file
		src := write(t, diskOf(1<<20), opts).source(t)
		clear(text)
		formattest.Disk(src).Fill(text, sector)
		if !strings.Contains(string(text), "SPARSE \""+want+"\"\n") {
			t.Errorf("the extent of %q must be %q in\n%s", file, want, text)
		}
	}
	for uuid, want := range map[[16]byte]uint32{{}: 0xfffffffe, {0xff, 0xff, 0xff, 0xff}: 0xfffffffe, {1, 2, 3, 4}: 0x01020304, {15: 1}: 0} {
		if got := contentID(uuid); got != want {
			t.Errorf("the CID of %x is %x, want %x", uuid, got, want)
		}
	}
}
