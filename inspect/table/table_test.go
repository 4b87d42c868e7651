package table_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/table"
)

// image makes a disk with the table that an sfdisk script describes, and returns its path.
func image(t testing.TB, size int64, script string) string {
	t.Helper()
	path := t.TempDir() + "/disk"
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	if script != "" {
		tool(t, "sfdisk", "fdisk", script, "-q", path)
	}
	return path
}

// tool runs a program with text as its input.
func tool(t testing.TB, program, debianPackage, input string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), formattest.Tool(t, program, debianPackage), args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return string(out)
}

func read(t testing.TB, path string) table.Table {
	t.Helper()
	got, err := table.Read(t.Context(), disk.New(formattest.OpenFile(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// sfdisk returns what sfdisk reads of a disk, in the form of this package.
func sfdisk(t *testing.T, path string) table.Table {
	t.Helper()
	var dump struct {
		Table struct {
			Label, ID  string
			Sectorsize int64
			Partitions []struct {
				Node, Type, UUID, Name, Attrs string
				Start, Size                   int64
				Bootable                      bool
			}
		} `json:"partitiontable"`
	}
	if err := json.Unmarshal([]byte(tool(t, "sfdisk", "fdisk", "", "--json", path)), &dump); err != nil {
		t.Fatal(err)
	}
	d := dump.Table
	want := table.Table{SectorSize: d.Sectorsize, UUID: strings.TrimPrefix(strings.ToLower(d.ID), "0x")}
	switch d.Label {
	case "dos":
		want.Kind = table.MBR
	case "gpt":
		want.Kind = table.GPT
	}
	for _, p := range d.Partitions {
		number := strings.TrimLeft(strings.TrimPrefix(p.Node, path), "p")
		e := table.Partition{
			ID: "p" + number, Off: p.Start * d.Sectorsize, Size: p.Size * d.Sectorsize,
			Type: strings.ToLower(p.Type), Name: p.Name, UUID: strings.ToLower(p.UUID),
			Bootable: p.Bootable || strings.Contains(p.Attrs, "LegacyBIOSBootable"),
		}
		if d.Label == "dos" {
			var n, kind int
			fmt.Sscanf(number, "%d", &n)
			fmt.Sscanf(p.Type, "%x", &kind)
			e.UUID, e.Type = fmt.Sprintf("%s-%02x", want.UUID, n), fmt.Sprintf("0x%02x", kind)
		}
		want.Partitions = append(want.Partitions, e)
	}
	return want
}

// expectSame compares all but the notes, the names of types and the boot code, which sfdisk does
// not have.
func expectSame(t *testing.T, got, want table.Table) {
	t.Helper()
	got.Notes, got.BootCode, got.Hybrid = nil, false, false
	for i := range got.Partitions {
		got.Partitions[i].TypeName = ""
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the table is\n%+v\nsfdisk has\n%+v", got, want)
	}
}

const gptScript = `label: gpt
size=1M, type=21686148-6449-6E6F-744E-656564454649, attrs=LegacyBIOSBootable
size=8M, type=U, name="EFI ünïcode"
start=40960, size=16M, type=L, name="root"
type=E6D6D379-F507-44C2-A23C-238F2A3DF928
`

const mbrScript = `label: dos
label-id: 0x1234abcd
size=4M, type=83, bootable
size=4M, type=82
size=30M, type=f
size=4M, type=8e
size=5M, type=83
size=6M, type=7
size=3M, type=b
`

func TestSameAsSfdisk(t *testing.T) {
	for name, script := range map[string]string{
		"GPT":          gptScript,
		"GPTEmpty":     "label: gpt\n",
		"GPTFew":       "label: gpt\ntable-length: 4\nsize=1M\n",
		"GPTMany":      "label: gpt\ntable-length: 256\nsize=1M\nstart=20480,size=1M\n",
		"MBR":          "label: dos\nsize=4M, type=83, bootable\nsize=2M, type=c\n",
		"MBRLogical":   mbrScript,
		"MBRTwoLinks":  "label: dos\nsize=10M, type=5\nsize=2M, type=83\nstart=30000, size=1M, type=6\nstart=4096, size=1M, type=83\n",
		"MBRUnordered": "label: dos\nstart=40000, size=4M\nstart=2048, size=4M\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := image(t, 64<<20, script)
			got := read(t, path)
			if len(got.Notes) > 0 {
				t.Errorf("notes on a sound table: %q", got.Notes)
			}
			expectSame(t, got, sfdisk(t, path))
		})
	}
}

func TestLargeSectors(t *testing.T) {
	path := image(t, 64<<20, "")
	loop := strings.TrimSpace(tool(t, "losetup", "mount", "", "--find", "--show", "--sector-size", "4096", path))
	defer tool(t, "losetup", "mount", "", "--detach", loop)
	script := strings.Replace(gptScript, "start=40960", "start=5120", 1)
	tool(t, "sfdisk", "fdisk", script, "-q", "--no-tell-kernel", loop)
	tool(t, "blockdev", "util-linux", "", "--flushbufs", loop)
	got, want := read(t, path), sfdisk(t, loop)
	if got.SectorSize != 4096 || len(got.Notes) > 0 {
		t.Errorf("sectors of %d bytes, notes %q", got.SectorSize, got.Notes)
	}
	expectSame(t, got, want)
	edit(t, path, 4096, make([]byte, 4096))
	got = read(t, path)
	expectSame(t, got, want)
	expectNote(t, got, "the second copy is used")
}

func edit(t *testing.T, path string, off int64, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, off); err != nil {
		t.Fatal(err)
	}
}

func expectNote(t *testing.T, got table.Table, text string) {
	t.Helper()
	if !strings.Contains(strings.Join(got.Notes, "\n"), text) {
		t.Errorf("no note says %q: %q", text, got.Notes)
	}
}

func TestDamagedGPT(t *testing.T) {
	const size = 64 << 20
	for _, c := range []struct {
		name, note string
		damage     func(t *testing.T, path string)
		lost       bool
	}{
		{"FirstHeader", "the second copy is used", func(t *testing.T, path string) { edit(t, path, 512+60, []byte("damaged")) }, false},
		{"FirstMagic", "the second copy is used", func(t *testing.T, path string) { edit(t, path, 512, []byte("damaged!")) }, false},
		{"FirstEntries", "the entries of the first copy are damaged", func(t *testing.T, path string) { edit(t, path, 1024+300, []byte("damaged")) }, false},
		{"SecondHeader", "no sound second copy", func(t *testing.T, path string) { edit(t, path, size-512, make([]byte, 512)) }, false},
		{"SecondEntries", "the entries of the second copy", func(t *testing.T, path string) { edit(t, path, size-512-16384, []byte("damaged")) }, false},
		{"Both", "the first copy is damaged", func(t *testing.T, path string) {
			edit(t, path, 512+60, []byte("damaged"))
			edit(t, path, size-512+60, []byte("damaged"))
		}, true},
		{"Grown", "the disk has grown", func(t *testing.T, path string) {
			if err := os.Truncate(path, 2*size); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"CutOff", "past the disk's end", func(t *testing.T, path string) {
			if err := os.Truncate(path, size-size/4); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := image(t, size, gptScript)
			want := read(t, path)
			c.damage(t, path)
			got := read(t, path)
			expectNote(t, got, c.note)
			if c.lost {
				if len(got.Partitions) > 0 {
					t.Errorf("partitions of a lost table: %+v", got.Partitions)
				}
				return
			}
			if c.name == "CutOff" {
				expectNote(t, got, "it is cut off there")
				want.Partitions[3].Size = got.Partitions[3].Size
			}
			if !reflect.DeepEqual(got.Partitions, want.Partitions) || got.UUID != want.UUID {
				t.Errorf("the table is\n%+v\nwas\n%+v", got, want)
			}
		})
	}
}

func TestHybrid(t *testing.T) {
	path := image(t, 64<<20, gptScript)
	tool(t, "sgdisk", "gdisk", "", "--hybrid", "2:3", path)
	got := read(t, path)
	if got.Kind != table.GPT || len(got.Partitions) != 4 || !got.Hybrid {
		t.Errorf("%+v", got)
	}
	expectNote(t, got, "hybrid")
}

// TestEBRRing makes the chain of logical partitions come back, which must end it.
func TestEBRRing(t *testing.T) {
	path := image(t, 64<<20, mbrScript)
	sound := read(t, path)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := sound.Partitions[2].Off // the extended partition
	third := first
	for range 2 {
		third = first + 512*int64(binary.LittleEndian.Uint32(raw[third+446+16+8:]))
	}
	link := []byte{0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}
	edit(t, path, third+446+16, link)
	got := read(t, path)
	expectNote(t, got, "comes back")
	if len(got.Partitions) != 4+3 {
		t.Errorf("%d partitions: %+v", len(got.Partitions), got.Partitions)
	}
	edit(t, path, third+446+16+8, []byte{0, 0, 0, 0x7f})
	expectNote(t, read(t, path), "leaves it")
}

func TestDisklabel(t *testing.T) {
	path := image(t, 64<<20, "label: dos\nsize=40M, type=a5\n")
	tool(t, "fdisk", "fdisk", "b\ny\nn\na\n\n+10M\nn\nb\n\n+5M\nw\n", path)
	got := read(t, path)
	if len(got.Partitions) != 3 || got.Partitions[1].ID != "p1a" || got.Partitions[2].ID != "p1b" {
		t.Fatalf("%+v", got)
	}
	slice := got.Partitions[0]
	for _, p := range got.Partitions[1:] {
		if p.Off < slice.Off || p.Off+p.Size > slice.Off+slice.Size {
			t.Errorf("%+v is outside of %+v", p, slice)
		}
	}
	if size := got.Partitions[1].Size; size < 10<<20-1<<19 || size > 10<<20+1<<19 {
		t.Errorf("p1a has %d bytes", size)
	}
}

func TestNoTable(t *testing.T) {
	for name, make := range map[string]func(path string){
		"Zeros": func(string) {},
		"ext4":  func(path string) { tool(t, "mkfs.ext4", "e2fsprogs", "", "-q", path) },
		"FAT":   func(path string) { tool(t, "mkfs.vfat", "dosfstools", "", path) },
		"NTFS":  func(path string) { tool(t, "mkfs.ntfs", "ntfs-3g", "", "-q", "-F", path) },
	} {
		t.Run(name, func(t *testing.T) {
			path := image(t, 64<<20, "")
			make(path)
			if got := read(t, path); got.Kind != table.None || len(got.Partitions) > 0 {
				t.Errorf("%+v", got)
			}
		})
	}
	for _, n := range []int{0, 1, 511, 512, 513, 4095} {
		got, err := table.Read(t.Context(), disk.New(formattest.Bytes(make([]byte, n))))
		if err != nil || got.Kind != table.None {
			t.Errorf("a disk of %d bytes: %+v, %v", n, got, err)
		}
	}
}

// TestRequests holds the table to the budget of 3 requests.
func TestRequests(t *testing.T) {
	for name, script := range map[string]string{"GPT": gptScript, "MBR": "label: dos\nsize=4M\n"} {
		t.Run(name, func(t *testing.T) {
			d := disk.New(formattest.OpenFile(t, image(t, 1<<30, script)))
			if _, err := table.Read(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			if c := d.Cost(); c.Requests > 3 || c.Bytes > 64<<10 {
				t.Errorf("%+v", c)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	for _, script := range []string{gptScript, mbrScript, "label: dos\nsize=1M, type=a5\n"} {
		raw, err := os.ReadFile(image(f, 64<<20, script))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw[:20<<10], raw[len(raw)-17<<10:])
	}
	f.Fuzz(func(t *testing.T, head, tail []byte) {
		if len(head) > 64<<10 || len(tail) > 64<<10 {
			return
		}
		const size = 64 << 20
		src := formattest.Sparse{Bytes: size, Parts: []formattest.Part{{Data: head}, {Off: size - int64(len(tail)), Data: tail}}}
		got, err := table.Read(t.Context(), disk.New(src))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range got.Partitions {
			if p.Size <= 0 || !disk.Within(p.Off, p.Size, size) {
				t.Errorf("%+v is not on the disk", p)
			}
		}
		if len(got.Partitions) > table.MaxPartitions || len(got.Notes) > 64 {
			t.Errorf("%d partitions, %d notes", len(got.Partitions), len(got.Notes))
		}
	})
}
