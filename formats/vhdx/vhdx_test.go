package vhdx

import (
	"slices"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// small is a disk of the smallest blocks in all the states that need no parent; its last block is cut.
var small = disk{size: 6*mib + 512*7, blockSize: mib, sector: 512, blocks: map[int64]block{
	0: {state: fullyPresent}, 1: {state: zero}, 2: {state: fullyPresent}, 3: {state: undefined}, 4: {state: unmapped}, 6: {state: fullyPresent},
}}

// child is a differencing disk: what it does not have is its parent's.
var child = disk{size: 8 * mib, blockSize: 2 * mib, sector: 512, blocks: map[int64]block{
	0: {state: partiallyPresent, present: []formattest.Range{{Off: 512, End: 1024}, {Off: 4096, End: 300 * kib}, {Off: 2*mib - 512, End: 2 * mib}}},
	1: {state: fullyPresent}, 2: {state: unmapped},
}, locator: map[string]string{
	"parent_linkage":      "{83ED0EC3-24C8-49A6-A959-5E4BF1288BFB}",
	"relative_path":       `..\base\parent.vhdx`,
	"absolute_win32_path": `\\?\d:\base\parent.vhdx`,
}}

// wide is a disk of 4096-byte sectors.
var wide = disk{size: 3 * mib, blockSize: mib, sector: 4096, blocks: map[int64]block{
	1: {state: partiallyPresent, present: []formattest.Range{{Off: 4096, End: 8192}, {Off: 64 * kib, End: 128 * kib}}}, 2: {state: fullyPresent},
}, locator: child.locator}

// sealed are the parts of a built file that checksums cover.
var sealed = []formattest.Range{
	{Off: headerAt[0], End: headerAt[0] + headerSize}, {Off: headerAt[1], End: headerAt[1] + headerSize},
	{Off: tableAt[0], End: tableAt[0] + tableSize}, {Off: tableAt[1], End: tableAt[1] + tableSize},
}

func TestConformance(t *testing.T) {
	dirty, dirtyDisk := dirtyFile()
	ours := formattest.Disk{Bytes: 3*mib + 512, Parts: []formattest.Part{{Off: 100, Data: formattest.Pattern(100, 5000)}, {Off: 2*mib - 512, Data: formattest.Pattern(2*mib-512, 1024)}}}
	formattest.Run(t, Driver{}, []formattest.Case{
		{Name: "written", Image: writeFile(t, ours, formats.CreateOptions{Set: setBlockSize("1M")}), Disk: ours, Checked: sealed},
		{Name: "small", Image: small.build().b, Disk: small.model(), Checked: sealed},
		{Name: "differencing", Image: child.build().b, Disk: child.model(), Checked: sealed},
		{Name: "sectors of 4096", Image: wide.build().b, Disk: wide.model(), Checked: sealed},
		{Name: "dirty log", Image: dirty.b, Disk: dirtyDisk, Checked: append(sealed, formattest.Range{Off: builtLog, End: builtLog + 2*logSector})},
	})
}

// dirtyFile is small in whose log block 0 becomes block 1's and a sector of block 2 is written anew.
func dirtyFile() (*file, formattest.Disk) {
	f := small.build()
	model := small.model()
	first := formattest.Pattern(0, mib)
	moved := model.Parts[0]
	moved.Off = mib
	sector := formattest.Pattern(100*mib, logSector)
	model.Parts[1].Data = append(append([]byte{}, sector...), model.Parts[1].Data[logSector:]...)
	bat := f.batSector(1, uint64(f.at[0])|fullyPresent)
	le.PutUint64(bat, notPresent)
	size := uint64(len(f.b))
	f.log(0, built{sequence: 5, flushed: size, last: size, updates: []update{
		{off: builtBAT, data: bat}, {off: uint64(f.at[2]), data: sector},
	}}.bytes())
	moved.Data = first
	model.Parts[0] = moved
	return f, model
}

func TestStates(t *testing.T) {
	type want struct {
		len   int64
		state formats.State
	}
	for _, c := range []struct {
		name string
		disk disk
		want []want
	}{
		{"small", small, []want{{mib, formats.Data}, {mib, formats.Zero}, {mib, formats.Data}, {2 * mib, formats.Zero}, {mib, formats.Unallocated}, {512 * 7, formats.Data}}},
		{"child", child, []want{
			{512, formats.Unallocated}, {512, formats.Data}, {3072, formats.Unallocated}, {300*kib - 4096, formats.Data},
			{2*mib - 300*kib - 512, formats.Unallocated}, {2*mib + 512, formats.Data}, {2 * mib, formats.Zero}, {2 * mib, formats.Unallocated},
		}},
		{"wide", wide, []want{
			{mib + 4096, formats.Unallocated}, {4096, formats.Data}, {56 * kib, formats.Unallocated}, {64 * kib, formats.Data},
			{mib - 128*kib, formats.Unallocated}, {mib, formats.Data},
		}},
	} {
		var got []want
		for _, e := range extents(t, openSource(t, formattest.Bytes(c.disk.build().b))) {
			got = append(got, want{e.Len, e.State})
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: extents %v, want %v", c.name, got, c.want)
		}
	}
}

// TestChunks: behind the entries of each chunk there is one for its sector bitmap, wherever blocks lie.
func TestChunks(t *testing.T) {
	for _, c := range []disk{
		{size: 33 << 30, blockSize: 256 * mib, sector: 512},
		{size: 33 << 30, blockSize: 256 * mib, sector: 512, locator: child.locator},
		{size: 5 << 30, blockSize: mib, sector: 512},
		{size: 65 << 30, blockSize: 256 * mib, sector: 4096},
	} {
		g := geometry{c.size, c.blockSize, c.sector, false}
		last := g.blocks() - 1
		c.blocks = map[int64]block{g.ratio() - 1: {state: zero}, g.ratio(): {state: undefined}, last: {state: zero}}
		f := c.build()
		var got []int64
		for _, e := range extents(t, openSource(t, formattest.Bytes(f.b))) {
			if e.State == formats.Zero {
				got = append(got, e.Off/c.blockSize, e.Len/c.blockSize)
			}
		}
		if want := []int64{g.ratio() - 1, 2, last, 1}; !slices.Equal(got, want) {
			t.Errorf("size %d, blocks of %d, sectors of %d: zeros at %v, want %v", c.size, c.blockSize, c.sector, got, want)
		}
		if found := problems(t, formattest.Bytes(f.b)); len(found) > 0 {
			t.Errorf("check: %v", found)
		}
	}
}

func TestInfo(t *testing.T) {
	info := openSource(t, formattest.Bytes(child.build().b)).Info()
	if info.Size != 8*mib || info.ClusterSize != 2*mib || info.Allocated != formats.Unknown || info.ID != testGUID.String() {
		t.Errorf("Info = %+v", info)
	}
	b := info.Backing
	if b == nil || b.Format != "vhdx" || b.ID != "83ed0ec3-24c8-49a6-a959-5e4bf1288bfb" ||
		!slices.Equal(b.Paths, []string{"../base/parent.vhdx", "parent.vhdx"}) {
		t.Errorf("Backing = %+v", b)
	}
	for key, want := range map[string]string{
		"creator": "a test", "type": "differencing", "block_size": "2097152", "logical_sector_size": "512", "physical_sector_size": "4096",
		"virtual_disk_id": "04030201-0605-0807-090a-0b0c0d0e0f10", "log": "empty", "relative_path": `..\base\parent.vhdx`,
	} {
		if !slices.Contains(info.Details, formats.Detail{Key: key, Value: want}) {
			t.Errorf("details %v lack %s = %q", info.Details, key, want)
		}
	}
	b.Paths[0] = "changed"
	info.Details[0].Value = "changed"
}

// TestTextIsPrintable: a creator cannot clear the screen of whoever asks.
func TestTextIsPrintable(t *testing.T) {
	f := small.build()
	copy(f.b[8:], utf16Bytes("a\x1b[2Jb"))
	if got := detail(openSource(t, formattest.Bytes(f.b)).Info().Details, "creator"); got != "a\ufffd[2Jb" {
		t.Errorf("creator = %q", got)
	}
}

func TestParentPaths(t *testing.T) {
	for _, c := range []struct {
		values map[string]string
		want   []string
	}{
		{map[string]string{"relative_path": `.\base.vhdx`}, []string{"base.vhdx"}},
		{map[string]string{"relative_path": `..\..\path2\base.vhdx`, "volume_path": `\\?\Volume{26A21BDA-A627-11D7-9931-806E6F6E6963}\path2\base.vhdx`},
			[]string{"../../path2/base.vhdx", "base.vhdx"}},
		{map[string]string{"absolute_win32_path": `\\?\d:base.vhdx`}, []string{"base.vhdx"}},
		{map[string]string{"absolute_win32_path": `\\?\d:\`}, nil},
		{map[string]string{"relative_path": "/etc/shadow"}, []string{"/etc/shadow"}}, // lazyload refuses it
	} {
		if got := (&locator{c.values}).backing().Paths; !slices.Equal(got, c.want) {
			t.Errorf("%v: paths %q, want %q", c.values, got, c.want)
		}
	}
}

// TestTwoLinkages: while a child is merged into its parent either GUID may be the parent's.
func TestTwoLinkages(t *testing.T) {
	for second, want := range map[string]string{
		"{83ed0ec3-24c8-49a6-a959-5e4bf1288bfb}": "83ed0ec3-24c8-49a6-a959-5e4bf1288bfb",
		"{00000000-24c8-49a6-a959-5e4bf1288bfb}": "",
	} {
		d := child
		d.locator = map[string]string{"parent_linkage": child.locator["parent_linkage"], "parent_linkage2": second, "volume_path": "x"}
		if got := openSource(t, formattest.Bytes(d.build().b)).Info().Backing.ID; got != want {
			t.Errorf("parent_linkage2 %s: ID = %q, want %q", second, got, want)
		}
	}
}

// TestEitherCopyServes: the newer header counts, and either copy of each structure is enough.
func TestEitherCopyServes(t *testing.T) {
	for name, change := range map[string]func(f *file){
		"older header lost":   func(f *file) { f.b[headerAt[0]+100] ^= 1 },
		"newer header lost":   func(f *file) { f.b[headerAt[1]+100] ^= 1 },
		"first table lost":    func(f *file) { f.b[tableAt[0]+100] ^= 1 },
		"second table lost":   func(f *file) { f.b[tableAt[1]+100] ^= 1 },
		"header twice":        func(f *file) { copy(f.b[headerAt[1]:], f.b[headerAt[0]:][:headerSize]) },
		"newer one in front":  func(f *file) { le.PutUint64(f.b[headerAt[0]+8:], 9); f.seal() },
		"older one is absurd": func(f *file) { le.PutUint64(f.b[headerAt[0]+72:], 5); f.seal() },
	} {
		t.Run(name, func(t *testing.T) {
			f := small.build()
			change(f)
			img := openSource(t, formattest.Bytes(f.b))
			got := make([]byte, 512)
			if err := img.ReadAt(t.Context(), got, 2*mib); err != nil || string(got) != string(formattest.Pattern(2*mib, 512)) {
				t.Errorf("wrong bytes, or %v", err)
			}
		})
	}
}

// TestNeighboursAreReadAsOne: blocks that follow each other in the file take one read.
func TestNeighboursAreReadAsOne(t *testing.T) {
	d := disk{size: 4 * mib, blockSize: mib, sector: 512, blocks: map[int64]block{0: {state: fullyPresent}, 1: {state: fullyPresent}, 2: {state: fullyPresent}, 3: {state: fullyPresent}}}
	src := &formattest.Counting{Source: formattest.Bytes(d.build().b)}
	img := openSource(t, src)
	p := make([]byte, 4*mib)
	if err := img.ReadAt(t.Context(), p, 0); err != nil { // and the BAT
		t.Fatal(err)
	}
	before := src.Calls()
	if err := img.ReadAt(t.Context(), p[:3*mib], 1000); err != nil || src.Calls() != before+1 {
		t.Errorf("%d reads, %v, want 1", src.Calls()-before, err)
	}
}

func TestProbe(t *testing.T) {
	for text, want := range map[string]bool{"vhdxfile": true, "vhdxfile and more": true, "vhdxfil": false, "": false, "conectix": false} {
		if got, err := (Driver{}).Probe(t.Context(), formattest.Bytes(text)); got != want || err != nil {
			t.Errorf("Probe(%q) = %v, %v", text, got, err)
		}
	}
}
