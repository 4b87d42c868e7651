package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/all"
	"github.com/imsfs/imsfs/formats/raw"
)

func TestInfo(t *testing.T) {
	path := writeDisk(t, filepath.Join(t.TempDir(), "disk.img"), 3<<20+100, extent{1 << 20, 1 << 20})
	c := newConsole()
	c.expect(t, 0, "info", path)
	want := fmt.Sprintf(`image: %s
file format: raw
virtual size: 3.0 MiB (3146240 bytes)
disk size: 1.0 MiB (1048576 bytes)
data: 1.0 MiB (1048576 bytes)
cluster size: 64 KiB (65536 bytes)
`, path)
	if c.out.String() != want {
		t.Errorf("info:\n%swant:\n%s", &c.out, want)
	}

	c.expect(t, 0, "info", "--json", path)
	want = fmt.Sprintf(`{
    "filename": %q,
    "format": "raw",
    "virtual-size": 3146240,
    "actual-size": 1048576,
    "data-size": 1048576,
    "logical-sector-size": 512,
    "cluster-size": 65536
}
`, path)
	if c.out.String() != want {
		t.Errorf("info --json:\n%swant:\n%s", &c.out, want)
	}
}

func TestInfoAgreesWithQemuImg(t *testing.T) {
	path := writeDisk(t, filepath.Join(t.TempDir(), "disk.img"), 5<<20+777, extent{4096, 70000})
	theirs, _ := qemuImg(t, "info", "-f", "raw", "--output=json", path)
	c := newConsole()
	c.expect(t, 0, "info", "--json", path)
	var ours, qemus map[string]any
	for text, into := range map[string]*map[string]any{theirs: &qemus, c.out.String(): &ours} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	for _, key := range []string{"filename", "format", "virtual-size", "actual-size"} {
		if ours[key] != qemus[key] {
			t.Errorf("%s = %v, qemu-img says %v", key, ours[key], qemus[key])
		}
	}
}

func TestInfoPrintsWhatTheFormatSays(t *testing.T) {
	path := writeDisk(t, filepath.Join(t.TempDir(), "disk.img"), 4096)
	c := newConsole()
	c.formats = formats.Set{Fallback: &fakeDriver{}}
	c.expect(t, 0, "info", path)
	if want := "compression: zstd\nformat specific information:\n    uuid: 1-2\n    creator: <me>\n"; !strings.HasSuffix(c.out.String(), want) {
		t.Errorf("info:\n%swant it to end in\n%s", &c.out, want)
	}
	c.expect(t, 0, "info", "--json", path)
	var got infoReport
	if err := json.Unmarshal(c.out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := &formatDetails{Type: "fake", Data: map[string]string{"uuid": "1-2", "creator": "<me>"}}
	if !reflect.DeepEqual(got.Specific, want) || got.Compression != "zstd" {
		t.Errorf("info --json: %s", &c.out)
	}
}

func TestMapTable(t *testing.T) {
	path := writeDisk(t, filepath.Join(t.TempDir(), "disk.img"), 3<<20, extent{1 << 20, 1 << 20})
	c := newConsole()
	c.expect(t, 0, "map", path)
	want := `START                LENGTH               DEPTH STATE
0x0                  0x100000             0     zero
0x100000             0x100000             0     data
0x200000             0x100000             0     zero
`
	if c.out.String() != want {
		t.Errorf("map:\n%swant:\n%s", &c.out, want)
	}
}

func TestMapOfEveryState(t *testing.T) {
	var table, js strings.Builder
	if err := writeMapTable(t.Context(), &table, threeStates{}); err != nil {
		t.Fatal(err)
	}
	want := `START                LENGTH               DEPTH STATE
0x0                  0x200                0     unallocated
0x200                0x200                1     zero
0x400                0x200                2     data compressed
`
	if table.String() != want {
		t.Errorf("table:\n%swant:\n%s", &table, want)
	}
	if err := writeMapJSON(t.Context(), &js, threeStates{}); err != nil {
		t.Fatal(err)
	}
	want = `[{"start":0,"length":512,"depth":0,"present":false,"zero":true,"data":false,"compressed":false},
{"start":512,"length":512,"depth":1,"present":true,"zero":true,"data":false,"compressed":false},
{"start":1024,"length":512,"depth":2,"present":true,"zero":false,"data":true,"compressed":true}]
`
	if js.String() != want {
		t.Errorf("JSON:\n%swant:\n%s", &js, want)
	}
}

// threeStates is a disk with a sector in each state, each at another depth.
type threeStates struct{ formats.Image }

func (threeStates) Info() formats.Info { return formats.Info{Size: 3 * 512} }

func (threeStates) Extent(_ context.Context, off, _ int64) (formats.Extent, error) {
	state := formats.State(off / 512)
	return formats.Extent{Off: off, Len: 512 - off%512, State: state, Compressed: state == formats.Data, Depth: int(off / 512)}, nil
}

func TestMapAgreesWithQemuImg(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 5))
		size := 1 + rng.Int64N(32<<20)
		var data []extent
		for range rng.IntN(20) {
			off := rng.Int64N(size)
			data = append(data, extent{off, 1 + rng.Int64N(min(size-off, 200_000))})
		}
		path := writeDisk(t, filepath.Join(t.TempDir(), "disk.img"), size, data...)
		theirs, _ := qemuImg(t, "map", "-f", "raw", "--output=json", path)
		c := newConsole()
		c.expect(t, 0, "map", "--json", "-f", "raw", path)
		var ours, qemus []mapEntry
		if err := json.Unmarshal([]byte(theirs), &qemus); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(c.out.Bytes(), &ours); err != nil {
			t.Fatalf("%v in %s", err, &c.out)
		}
		if !reflect.DeepEqual(ours, qemus) {
			t.Fatalf("seed %d: map of %d bytes:\n%v\nqemu-img says:\n%v", seed, size, ours, qemus)
		}
	}
}

// fakeDriver is raw disks with facts, problems and faults of the test's choosing.
type fakeDriver struct {
	raw.Driver
	problems []formats.Problem
	checkErr error
	created  []formats.CreateOptions
	onRead   func(ctx context.Context, off int64) error // optional, before a read
}

func (*fakeDriver) Name() string { return "fake" }

func (d *fakeDriver) Open(ctx context.Context, src formats.Source, opts formats.OpenOptions) (formats.Image, error) {
	img, err := d.Driver.Open(ctx, src, opts)
	return &fakeImage{img, d}, err
}

func (d *fakeDriver) Create(size int64, opts formats.CreateOptions) (formats.Encoder, error) {
	d.created = append(d.created, opts)
	opts.Level = 0
	return d.Driver.Create(size, opts)
}

func (d *fakeDriver) Check(_ context.Context, _ formats.Source, _ formats.OpenOptions, report func(formats.Problem)) error {
	for _, p := range d.problems {
		report(p)
	}
	return d.checkErr
}

type fakeImage struct {
	formats.Image
	driver *fakeDriver
}

func (i *fakeImage) Info() formats.Info {
	info := i.Image.Info()
	info.Format, info.Compression = "fake", "zstd"
	info.Details = []formats.Detail{{Key: "uuid", Value: "1-2"}, {Key: "creator", Value: "<me>"}}
	return info
}

func (i *fakeImage) ReadAt(ctx context.Context, p []byte, off int64) error {
	if i.driver.onRead != nil {
		if err := i.driver.onRead(ctx, off); err != nil {
			return err
		}
	}
	return i.Image.ReadAt(ctx, p, off)
}

func TestCheck(t *testing.T) {
	path := writeDisk(t, filepath.Join(t.TempDir(), "disk.img"), 4096)
	damage := formats.Problem{Off: 0x1000, Text: "block 3: the frame is cut short"}
	leak := formats.Problem{Off: 0x2000, Text: "a gap of 4096 bytes", Leak: true}
	tests := []struct {
		name     string
		driver   *fakeDriver
		code     int
		out, err string
		counts   [2]int // corruptions, leaks
	}{
		{"sound", &fakeDriver{}, 0, path + " is sound.\n", "", [2]int{0, 0}},
		{"damage", &fakeDriver{problems: []formats.Problem{damage, leak}}, 2,
			"damage at 0x1000: block 3: the frame is cut short\nleak at 0x2000: a gap of 4096 bytes\n" + path + " is damaged: problems: 1, leaks: 1.\n", "", [2]int{1, 1}},
		{"leaks", &fakeDriver{problems: []formats.Problem{leak, leak}}, 3,
			strings.Repeat("leak at 0x2000: a gap of 4096 bytes\n", 2) + path + " loses space but no data: leaks: 2.\n", "", [2]int{0, 2}},
		{"unreadable", &fakeDriver{checkErr: errors.New("the medium is broken")}, 1, "", "imsfs: " + path + ": the medium is broken\n", [2]int{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newConsole()
			c.formats = formats.Set{Fallback: tt.driver}
			c.expect(t, tt.code, "check", path)
			if c.out.String() != tt.out || c.err.String() != tt.err {
				t.Errorf("stdout %q, stderr %q, want %q, %q", &c.out, &c.err, tt.out, tt.err)
			}
			c.expect(t, tt.code, "check", "--json", path)
			if tt.code == exitCannotCheck {
				return
			}
			var got checkReport
			if err := json.Unmarshal(c.out.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if got.Corruptions != tt.counts[0] || got.Leaks != tt.counts[1] || len(got.Problems) != len(tt.driver.problems) || got.Format != "fake" {
				t.Errorf("check --json: %s", &c.out)
			}
		})
	}
}

func TestCheckOfAFormatWithoutChecks(t *testing.T) {
	path := writeDisk(t, filepath.Join(t.TempDir(), "disk.img"), 4096)
	c := newConsole()
	c.expect(t, 63, "check", path)
	_, theirs := qemuImg(t, "check", "-f", "raw", path)
	if theirs != 63 {
		t.Errorf("qemu-img's exit code is %d: ours should be the same", theirs)
	}
}

func TestCompareAgreesWithQemuImg(t *testing.T) {
	dir := t.TempDir()
	a := writeDisk(t, filepath.Join(dir, "a"), 4<<20, extent{1 << 20, 1 << 20})
	same := writeDisk(t, filepath.Join(dir, "same"), 4<<20, extent{1 << 20, 1 << 20}, extent{0, 0})
	longer := writeDisk(t, filepath.Join(dir, "longer"), 9<<20, extent{1 << 20, 1 << 20})
	more := writeDisk(t, filepath.Join(dir, "more"), 9<<20, extent{1 << 20, 1 << 20}, extent{8 << 20, 10})
	full := writeDisk(t, filepath.Join(dir, "full"), 4<<20, extent{0, 0}, extent{1 << 20, 1 << 20})
	fill(t, full, 2<<20, 1<<20)
	other := writeDisk(t, filepath.Join(dir, "other"), 4<<20, extent{1 << 20, 1 << 20})
	flip(t, other, 1<<20+12345)

	tests := []struct {
		b      string
		strict bool
		code   int
		says   string
	}{
		{same, false, 0, "The disks are equal.\n"},
		{same, true, 0, "The disks are equal.\n"},
		{full, false, 0, "The disks are equal.\n"},
		{full, true, 1, "The allocation differs, at offset 2097152 (0x200000) first.\n"},
		{longer, false, 0, "zeros"},
		{longer, true, 1, "The sizes differ: 4194304 and 9437184 bytes.\n"},
		{more, false, 1, "offset 8388608 (0x800000)"},
		{other, false, 1, "offset 1060921 (0x103039)"},
		{filepath.Join(dir, "missing"), false, 2, ""},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s/strict=%v", filepath.Base(tt.b), tt.strict), func(t *testing.T) {
			args := []string{"compare", a, tt.b, "-f", "raw", "-F", "raw"}
			qemuArgs := []string{"compare", "-f", "raw", "-F", "raw", a, tt.b}
			if tt.strict {
				args, qemuArgs = append(args, "--strict"), append(qemuArgs, "-s")
			}
			c := newConsole()
			c.expect(t, tt.code, args...)
			if !strings.Contains(c.out.String(), tt.says) {
				t.Errorf("stdout %q, want %q", &c.out, tt.says)
			}
			if out, code := qemuImg(t, qemuArgs...); code != tt.code {
				t.Errorf("qemu-img says %d: %s", code, out)
			}
		})
	}
}

// fill writes n zeros at off.
func fill(t *testing.T, path string, off, n int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, n), off); err != nil {
		t.Fatal(err)
	}
}

// flip changes one byte of a file.
func flip(t *testing.T, path string, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0xff
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

// TestEmptyDisks: images of disks of 0 bytes, as qemu-img makes them, are read.
func TestEmptyDisks(t *testing.T) {
	for _, format := range []string{"qcow2", "qed", "vdi", "vpc", "vhdx"} {
		t.Run(format, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk")
			qemuImg(t, "create", "-q", "-f", format, path, "0")
			c := newConsole()
			c.formats = all.Formats()
			c.expect(t, 0, "info", path)
			if !strings.Contains(c.out.String(), "virtual size: 0 B (0 bytes)") {
				t.Errorf("info: %s", &c.out)
			}
			c.expect(t, 0, "check", path)
			c.expect(t, 0, "map", "--json", path)
			if c.out.String() != "[]\n" {
				t.Errorf("map: %s", &c.out)
			}
			c.expect(t, 0, "compare", path, path)
			c.expect(t, 1, "convert", "-O", "raw", path, path+".raw")
			if !strings.Contains(c.err.String(), "positive multiple") {
				t.Errorf("convert: %s", &c.err)
			}
		})
	}
}

// TestInfoCountsAFileOnce: a VMDK may be its own extent, behind a header that has no capacity and a descriptor.
func TestInfoCountsAFileOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "one.vmdk")
	b := make([]byte, 64<<10+1<<20)
	copy(b, "KDMV\x01\x00\x00\x00\x01")
	binary.LittleEndian.PutUint64(b[20:], 16) // grain size
	binary.LittleEndian.PutUint64(b[28:], 1)  // descriptor
	binary.LittleEndian.PutUint64(b[36:], 1)
	binary.LittleEndian.PutUint32(b[44:], 512)
	copy(b[73:], "\n \r\n")
	copy(b[512:], "# Disk Descriptor File\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 2048 FLAT \"one.vmdk\" 128\n")
	for i := range 1 << 20 {
		b[64<<10+i] = 1
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	c := newConsole()
	c.formats = all.Formats()
	c.expect(t, 0, "info", "--json", path)
	var got infoReport
	if err := json.Unmarshal(c.out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.VirtualSize != 1<<20 || got.ActualSize != int64(len(b)) {
		t.Errorf("a disk of %d bytes in %d, want %d in %d", got.VirtualSize, got.ActualSize, 1<<20, len(b))
	}
}

// TestPreallocatedImageIsNotFullOfData: its clusters are all allocated, and most of them lie in holes of the file.
func TestPreallocatedImageIsNotFullOfData(t *testing.T) {
	for format, options := range map[string]string{"qcow2": "preallocation=metadata", "vdi": "static=on", "vhdx": "subformat=fixed", "vpc": "subformat=fixed"} {
		t.Run(format, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk")
			qemuImg(t, "create", "-q", "-f", format, "-o", options, path, "1G")
			raw := writeDisk(t, filepath.Join(t.TempDir(), "raw"), 4<<20, extent{0, 4 << 20})
			qemuImg(t, "convert", "-n", "--target-is-zero", "-f", "raw", "-O", format, raw, path)
			c := newConsole()
			c.formats = all.Formats()
			c.expect(t, 0, "info", "--data", "--json", path)
			var got infoReport
			if err := json.Unmarshal(c.out.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if got.DataSize == nil || *got.DataSize < 4<<20 || *got.DataSize > 8<<20 {
				t.Errorf("data of %s bytes, want 4 MiB: %s", fmt.Sprint(*got.DataSize), &c.out)
			}
		})
	}
}
