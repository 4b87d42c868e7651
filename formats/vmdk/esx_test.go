package vmdk

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// buildCOWD builds a vmfsSparse extent of the disk from docs/formats/vmdk.md, with its grains in reverse order.
func buildCOWD(disk formattest.Disk, grainSectors int64) []byte {
	le := binary.LittleEndian
	grain := grainSectors * sector
	b := make([]byte, cowdHeaderSectors*sector)
	copy(b, magicCOWD)
	tables := ceilDiv(ceilDiv(disk.Bytes, grain), cowdTableGrains)
	for i, v := range []int64{1, 3, disk.Bytes / sector, grainSectors, cowdHeaderSectors, tables} {
		le.PutUint32(b[4+4*i:], uint32(v))
	}
	dir := len(b)
	b = append(b, make([]byte, ceilDiv(tables*gteSize, sector)*sector)...)
	placed := map[int64]bool{}
	for _, p := range slices.Backward(disk.Parts) {
		for g := (p.End() - 1) / grain; g >= p.Off/grain; g-- {
			if placed[g] {
				continue
			}
			placed[g] = true
			j := g / cowdTableGrains
			if le.Uint32(b[dir+int(j)*4:]) == 0 {
				le.PutUint32(b[dir+int(j)*4:], uint32(len(b)/sector))
				b = append(b, make([]byte, cowdTableGrains*gteSize)...)
			}
			table := int(le.Uint32(b[dir+int(j)*4:])) * sector
			le.PutUint32(b[table+int(g%cowdTableGrains)*4:], uint32(len(b)/sector))
			plain := make([]byte, grain)
			disk.Fill(plain[:min(grain, disk.Bytes-g*grain)], g*grain)
			b = append(b, plain...)
		}
	}
	le.PutUint32(b[28:], uint32(len(b)/sector))
	return b
}

// buildSESparse builds an seSparse extent of the disk, whose grains zeroed are marked as zeros, by turns of either kind.
func buildSESparse(disk formattest.Disk, zeroed ...int64) []byte {
	le := binary.LittleEndian
	tables := ceilDiv(disk.Bytes, int64(seTableSpan))
	const dirAt, tablesAt = 16, 64
	grainsAt := tablesAt + tables*seTableBytes/sector
	b := make([]byte, grainsAt*sector)
	for i, v := range []uint64{0xcafebabe, seVersion, uint64(disk.Bytes / sector), 8, 64, 0, 0, 0, 0, 0, 1, 1, 2, 2, 4, 4,
		dirAt, uint64(ceilDiv(tables*8, sector)), tablesAt, uint64(tables * 64), 0, 0, 0, 0, uint64(grainsAt), 1 << 20} {
		le.PutUint64(b[8*i:], v)
	}
	le.PutUint64(b[sector:], magicVolatile)
	used := uint64(0)
	entry := func(g int64) []byte {
		at := b[dirAt*sector+g/seTableGrains*8:]
		if le.Uint64(at) == 0 {
			le.PutUint64(at, seTableMark<<32|used)
			used++
		}
		return b[tablesAt*sector+int64(uint32(le.Uint64(at)))*seTableBytes+g%seTableGrains*8:]
	}
	for i, g := range zeroed {
		le.PutUint64(entry(g), uint64(1+i%2)<<60)
	}
	for _, p := range slices.Backward(disk.Parts) {
		for g := (p.End() - 1) / seGrain; g >= p.Off/seGrain; g-- {
			if e := entry(g); le.Uint64(e) == 0 {
				number := (uint64(len(b)) - uint64(grainsAt)*sector) / seGrain
				le.PutUint64(e, seAllocated|number&0xfff<<48|number>>12)
				plain := make([]byte, seGrain)
				disk.Fill(plain[:min(seGrain, disk.Bytes-g*seGrain)], g*seGrain)
				b = append(b, plain...)
			}
		}
	}
	return b
}

// esxDisk has data at its start, across tables of both formats, and at an end within a grain.
func esxDisk() formattest.Disk {
	const size = 40<<20 + 3*sector
	return diskOf(size, 0, 1000, 2<<20-700, 5000, 16<<20-9000, 20000, 39<<20, 512, size-sector, sector)
}

func esxCases() []formattest.Case {
	disk := esxDisk()
	line := func(kind string) []byte {
		return []byte(describe("vmfsSparse", "RW 81923 "+kind+` "x-delta.vmdk"`))
	}
	beside := func(b []byte) formats.OpenOptions {
		return formats.OpenOptions{Files: files{"x-delta.vmdk": formattest.Bytes(b)}}
	}
	return []formattest.Case{
		{Name: "vmfsSparse", Image: line("VMFSSPARSE"), Disk: disk, Open: beside(buildCOWD(disk, 1))},
		{Name: "vmfsSparse of larger grains", Image: line("VMFSSPARSE"), Disk: disk, Open: beside(buildCOWD(disk, 8))},
		{Name: "seSparse", Image: line("SESPARSE"), Disk: disk, Open: beside(buildSESparse(disk, 100, 101, 6000))},
	}
}

func TestESXSnapshotsConform(t *testing.T) { formattest.Run(t, New(), esxCases()) }

func TestQemuReadsESXBuilders(t *testing.T) {
	for _, c := range esxCases() {
		t.Run(c.Name, func(t *testing.T) {
			dir := t.TempDir()
			delta := []byte(c.Open.Files.(files)["x-delta.vmdk"].(formattest.Bytes))
			for name, b := range map[string][]byte{"x.vmdk": c.Image, "x-delta.vmdk": delta} {
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			raw := filepath.Join(dir, "raw")
			qemu(t, "qemu-img", "convert", "-f", "vmdk", "-O", "raw", filepath.Join(dir, "x.vmdk"), raw)
			got, err := os.ReadFile(raw)
			if err != nil {
				t.Fatal(err)
			}
			want := make([]byte, c.Disk.Bytes)
			c.Disk.Fill(want, 0)
			if string(got) != string(want) {
				t.Error("qemu-img reads something else than the builder's disk")
			}
			img := openSource(t, formattest.Bytes(c.Image), c.Open.Files)
			if got, want := ourMap(t, img), qemuMap(t, filepath.Join(dir, "x.vmdk")); !slices.Equal(got, want) {
				t.Errorf("map is %v, qemu-img's %v", got, want)
			}
			formattest.WantProblems(t, checkImage(t, formattest.Bytes(c.Image), c.Open.Files))
		})
	}
}

func TestHostileESXExtents(t *testing.T) {
	disk := esxDisk()
	corrupt, unsupported := formats.ErrCorrupt, errors.ErrUnsupported
	u32 := func(at int64, v uint32) func(b []byte) {
		return func(b []byte) { binary.LittleEndian.PutUint32(b[at:], v) }
	}
	u64 := func(at int64, v uint64) func(b []byte) {
		return func(b []byte) { binary.LittleEndian.PutUint64(b[at:], v) }
	}
	for _, c := range []struct {
		name, kind string
		change     func(b []byte)
		want       error
		words      []string
	}{
		{"COWD version", "VMFSSPARSE", u32(4, 2), unsupported, []string{"version 2"}},
		{"COWD capacity", "VMFSSPARSE", u32(12, 8), corrupt, []string{"capacity is 8"}},
		{"COWD grain of 0", "VMFSSPARSE", u32(16, 0), corrupt, []string{"at 0x10", "grainSize is 0"}},
		{"COWD grain of 3", "VMFSSPARSE", u32(16, 3), corrupt, []string{"grainSize is 3"}},
		{"COWD directory over the header", "VMFSSPARSE", u32(20, 3), corrupt, []string{"gdOffset is 3"}},
		{"COWD directory outside", "VMFSSPARSE", u32(20, 1<<31), corrupt, []string{"gdOffset"}},
		{"COWD directory too small", "VMFSSPARSE", u32(24, 1), corrupt, []string{"numGDEntries is 1"}},
		{"COWD table outside", "VMFSSPARSE", u32(2048, 1<<31), corrupt, []string{"grain table"}},
		{"seSparse version", "SESPARSE", u64(8, 3<<32), unsupported, []string{"version 3.0"}},
		{"seSparse capacity", "SESPARSE", u64(16, 8), corrupt, []string{"capacity is 8"}},
		{"seSparse grain", "SESPARSE", u64(24, 16), unsupported, []string{"grains of 16 sectors"}},
		{"seSparse flags", "SESPARSE", u64(40, 1), unsupported, []string{"flags 0x1"}},
		{"seSparse volatile header outside", "SESPARSE", u64(80, 1<<60), corrupt, []string{"volatile_header_offset"}},
		{"seSparse volatile magic", "SESPARSE", u64(sector, 1), corrupt, []string{"volatile header: magic"}},
		{"seSparse journal", "SESPARSE", u64(sector+24, 1), unsupported, []string{"journal"}},
		{"seSparse directory outside", "SESPARSE", u64(128, 1<<60), corrupt, []string{"grain_dir_offset"}},
		{"seSparse tables outside", "SESPARSE", u64(144, 1<<60), corrupt, []string{"grain_tables_offset"}},
		{"seSparse grains outside", "SESPARSE", u64(192, 1<<60), corrupt, []string{"grains_offset"}},
		{"seSparse directory entry", "SESPARSE", u64(16*sector, 5), corrupt, []string{"grain directory: entry 0"}},
		{"seSparse table number", "SESPARSE", u64(16*sector, seTableMark<<32|0xffffffff), corrupt, []string{"number of a table within the file"}},
		{"seSparse entry", "SESPARSE", func(b []byte) { fillTables(b, 4<<60) }, corrupt, []string{"no known kind"}},
		{"seSparse grain number", "SESPARSE", func(b []byte) { fillTables(b, seAllocated|1<<40) }, corrupt, []string{"grain 0", "within"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := buildCOWD(disk, 1)
			if c.kind == "SESPARSE" {
				b = buildSESparse(disk)
			}
			c.change(b)
			text := formattest.Bytes(describe("vmfsSparse", "RW 81923 "+c.kind+` "d"`))
			beside := files{"d": formattest.Bytes(b)}
			img, err := New().Open(t.Context(), text, formats.OpenOptions{Files: beside})
			if err == nil {
				err = img.ReadAt(t.Context(), make([]byte, 512), 0)
				if found := checkImage(t, text, beside); len(found) == 0 || !strings.Contains(found[0].Text, `"d"`) {
					t.Errorf("check finds %v", found)
				}
			}
			formattest.WantError(t, err, c.want, append(c.words, `"d"`)...)
		})
	}
}

// fillTables makes all entries of an seSparse extent's tables the same.
func fillTables(b []byte, entry uint64) {
	for at := 64 * sector; at < 64*sector+3*seTableBytes; at += 8 {
		binary.LittleEndian.PutUint64(b[at:], entry)
	}
}

// TestDeltasAreNotReadAlone: without the descriptor their parent is not known, and what they do not have would read as zeros.
func TestDeltasAreNotReadAlone(t *testing.T) {
	for name, b := range map[string][]byte{"vmfsSparse": buildCOWD(esxDisk(), 1), "seSparse": buildSESparse(esxDisk())} {
		t.Run(name, func(t *testing.T) {
			formattest.WantError(t, openError(t, formattest.Bytes(b), nil), errors.ErrUnsupported, "open the file that has the descriptor")
		})
	}
}
