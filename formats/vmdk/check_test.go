package vmdk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// checkImage collects what Check finds.
func checkImage(t *testing.T, src formats.Source, beside formats.Files) []formats.Problem {
	t.Helper()
	return formattest.Problems(t, New(), src, formats.OpenOptions{Files: beside})
}

func TestCheckFindsNothingWrongWithGoodFiles(t *testing.T) {
	for _, c := range cases() {
		t.Run(c.Name, func(t *testing.T) { formattest.WantProblems(t, checkImage(t, formattest.Bytes(c.Image), c.Open.Files)) })
	}
}

// damaged is an image with the means to damage it.
type damaged struct {
	b []byte
	h header
}

func (d *damaged) put(at int64, v uint32) { binary.LittleEndian.PutUint32(d.b[at:], v) }
func (d *damaged) get(at int64) int64     { return int64(binary.LittleEndian.Uint32(d.b[at:])) }

// table is where table j is, of the grain directory or the redundant one, in bytes.
func (d *damaged) table(directory uint64, j int64) int64 {
	return d.get(int64(directory)*sector+j*4) * sector
}

func TestCheckFindsDamage(t *testing.T) {
	hosted, stream := single()["small tables"], single()["stream, tables"]
	for _, c := range []struct {
		name   string
		spec   spec
		change func(d *damaged)
		want   [][]string
	}{
		{"two fields", hosted, func(d *damaged) { poke(d.b, 0, "grainSize", 3); poke(d.b, 0, "overHead", 1<<40) }, [][]string{{"grainSize is 3"}, {"overHead"}}},
		{"descriptor", hosted, func(d *damaged) { d.b[sector+30] = '\n' }, [][]string{{"descriptor"}}},
		{"capacity of the descriptor", hosted, func(d *damaged) { copy(d.b[bytes.Index(d.b, []byte("RW 6149")):], "RW 6150") },
			[][]string{{"descriptor: the extent has 6150 sectors, must have the header's 6149"}}},
		{"redundant directory lost", hosted, func(d *damaged) { poke(d.b, 0, "rgdOffset", 1<<40) },
			[][]string{{"rgdOffset is 1099511627776"}}},
		{"redundant table lost", hosted, func(d *damaged) { d.put(int64(d.h.rgdOffset)*sector+4, 0) },
			[][]string{{"redundant grain directory: table 1 is at sector 0, in the grain directory at"}}},
		{"redundant table after the file", hosted, func(d *damaged) { d.put(int64(d.h.rgdOffset)*sector+4, 1<<30) },
			[][]string{{"redundant grain table 1: at sector 1073741824"}}},
		{"redundant entries", hosted, func(d *damaged) { d.put(d.table(d.h.rgdOffset, 1), 99); d.put(d.table(d.h.rgdOffset, 1)+8, 99) },
			[][]string{{"redundant grain table 1: grain 16 is at sector 99, in the grain table at"}}},
		{"one table for both", hosted, func(d *damaged) { d.put(int64(d.h.rgdOffset)*sector+4, uint32(d.get(int64(d.h.gdOffset)*sector+4))) },
			[][]string{{"table 1 is the same"}, {"grain table 1 overlaps redundant grain table 1"}}},
		{"table after the file", hosted, func(d *damaged) { d.put(int64(d.h.gdOffset)*sector+4, 1<<30) },
			[][]string{{"grain table 1: at sector 1073741824"}, {"leak"}}},
		{"two tables in one place", hosted, func(d *damaged) { d.put(int64(d.h.gdOffset)*sector+4, uint32(d.get(int64(d.h.gdOffset)*sector))) },
			[][]string{{"redundant grain table 1"}, {"tables overlap"}, {"grain table 1 overlaps grain table 0"}, {"leak"}}},
		{"grain after the file", hosted, func(d *damaged) { d.entries(0, 1<<30) },
			[][]string{{"grain table 0: grain 0 at sector 1073741824: it must lie within the file"}, {"65536 bytes belong to nothing", "leak"}}},
		{"grain over the descriptor", hosted, func(d *damaged) { d.entries(0, 1) },
			[][]string{{"grain table 0: grain 0 at sector 1: it lies over the descriptor"}, {"65536 bytes", "leak"}}},
		{"grain over a table", hosted, func(d *damaged) { d.entries(0, uint32(d.h.gdOffset)) },
			[][]string{{"grain 0 overlaps grain directory"}, {"grain table 0 overlaps grain 0"}, {"grain table 1 overlaps grain 0"}, {"grain table 2"}, {"grain table 3"}, {"leak"}}},
		{"two grains in one place", hosted, func(d *damaged) { d.entries(1, uint32(d.h.overHead)) },
			[][]string{{"grain 1 overlaps grain 0, which ends at"}, {"65536 bytes", "leak"}}},
		{"a grain that nobody has", hosted, func(d *damaged) { d.entries(1, 0) }, [][]string{{"65536 bytes belong to nothing", "leak"}}},
		{"a longer file", hosted, func(d *damaged) { d.b = append(d.b, make([]byte, 1000)...) }, [][]string{{"1000 bytes belong to nothing", "leak"}}},

		{"header of another file", stream, func(d *damaged) { poke(d.b, 0, "capacity", 8); poke(d.b, 0, "overHead", 1) },
			[][]string{{"header: capacity is 0800000000000000"}, {"header: overHead"}}},
		{"end-of-stream marker", stream, func(d *damaged) { d.b[len(d.b)-sector] = 1 }, [][]string{{"end-of-stream marker: marker of type 0, size 0, for 1 sectors"}}},
		{"marker of a table", stream, func(d *damaged) { d.b[d.table(d.h.gdOffset, 0)-sector+12] = 7 },
			[][]string{{"marker before grain table 0: marker of type 7", "must be marker of type 1, size 0, for 1 sectors"}}},
		{"marker of the directory", stream, func(d *damaged) { d.b[int64(d.h.gdOffset)*sector-sector] = 9 }, [][]string{{"marker before grain directory"}}},
		{"marker of the footer", stream, func(d *damaged) { d.b[len(d.b)-3*sector+8] = 9 }, [][]string{{"marker before footer: marker of type 3, size 9"}}},
		{"marker of a grain", stream, func(d *damaged) { d.b[int64(d.h.overHead)*sector] = 1 }, [][]string{{"grain 0: the marker before it is for sector 1"}}},
		{"two payloads", stream, func(d *damaged) {
			d.b[d.get(d.table(d.h.gdOffset, 0))*sector+100] ^= 1
			d.b[d.get(d.table(d.h.gdOffset, 4))*sector+100] ^= 1
		}, [][]string{{"grain 0: zlib"}, {"grain 16: zlib"}}},
		{"two entries for one grain", stream, func(d *damaged) { d.put(d.table(d.h.gdOffset, 0)+4, uint32(d.get(d.table(d.h.gdOffset, 0)))) },
			[][]string{{"grain 1 overlaps grain 0"}, {"leak"}}},
		{"a longer file", stream, func(d *damaged) {
			foot := bytes.Clone(d.b[len(d.b)-3*sector:])
			d.b = append(append(d.b[:len(d.b)-3*sector], make([]byte, 5*sector)...), foot...)
		}, [][]string{{"3072 bytes belong to nothing", "leak"}}},
		{"cut short", stream, func(d *damaged) { d.b = d.b[:len(d.b)-4096] }, [][]string{{"footer: magicNumber", "truncated"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &damaged{b: c.spec.build()}
			at := 0
			if c.spec.compressed {
				at = len(d.b) - 2*sector
			}
			d.h = decodeHeader(d.b[at:])
			c.change(d)
			formattest.WantProblems(t, checkImage(t, formattest.Bytes(d.b), nil), c.want...)
		})
	}
}

// entries sets grain i of table 0 in both directories.
func (d *damaged) entries(i int64, v uint32) {
	d.put(d.table(d.h.gdOffset, 0)+i*4, v)
	d.put(d.table(d.h.rgdOffset, 0)+i*4, v)
}

func TestCheckNamesTheOtherFile(t *testing.T) {
	text, beside, _ := several()
	b := bytes.Clone(beside["c.vmdk"].(formattest.Bytes))
	b[decodeHeader(b).overHead*sector+20] ^= 1
	beside["c.vmdk"] = formattest.Bytes(b)
	beside["vmfs.vmdk"] = formattest.Bytes(nil)
	found := checkImage(t, formattest.Bytes(text), beside)
	if len(found) != 2 || !strings.HasPrefix(found[0].Text, `"c.vmdk": grain 0`) || !strings.HasPrefix(found[1].Text, `"vmfs.vmdk": the file ends here`) {
		t.Errorf("found %+v", found)
	}
}

// TestCheckOfOneTableForAll: a small file must not make one table stand for any number of grains.
func TestCheckOfOneTableForAll(t *testing.T) {
	s := spec{disk: diskOf(64<<20, 0, 16*4096), grain: 4096, gtes: 16, plainTables: true, descriptor: ownDescriptor("x", 64<<20)}
	b := s.build()
	h := decodeHeader(b)
	for j := range h.tables() { // 1024 tables of 16 grains that are all the same
		copy(b[h.gdOffset*sector+j*4:], b[h.gdOffset*sector:][:4])
	}
	found := checkImage(t, formattest.Bytes(b), nil)
	words := 0
	for _, p := range found {
		if strings.Contains(p.Text, "tables overlap, so the grains are not checked") {
			words++
		}
		if strings.Contains(p.Text, "grain 0") {
			t.Errorf("grains were checked: %+v", p)
		}
	}
	if words != 1 || len(found) > 2500 {
		t.Errorf("%d problems, %d of overlaps", len(found), words)
	}
}

// TestCheckInStretches wants the same findings however few claims are in memory at once.
func TestCheckInStretches(t *testing.T) {
	d := &damaged{b: single()["small tables"].build()}
	d.h = decodeHeader(d.b)
	for i := range int64(4) { // grains in places that are far apart, and two of them at one
		d.entries(i, uint32(d.h.overHead)+uint32(max(i, 1))<<24)
	}
	src := formattest.Sparse{Bytes: 1 << 36, Parts: []formattest.Part{{Data: d.b}}}
	check := func(most int64) (found []formats.Problem) {
		r, err := readFront(t.Context(), file{Source: src}, first)
		if err != nil {
			t.Fatal(err)
		}
		s, err := newSparse(t.Context(), New(), r, 0)
		if err != nil {
			t.Fatal(err)
		}
		k := newSparseCheck(&checker{New(), func(p formats.Problem) { found = append(found, p) }})
		k.most = most
		if err := k.run(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		return found
	}
	want := check(maxClaims)
	if len(want) != 6 { // an overlap, what was grains, and what is between the four places
		t.Errorf("found %+v", want)
	}
	for _, most := range []int64{50, 100} {
		if got := check(most); !slices.Equal(got, want) {
			t.Errorf("with %d claims in memory: %+v, want %+v", most, got, want)
		}
	}
}

func TestCheckReturnsWhatKeptItFromLooking(t *testing.T) {
	broken := errors.New("broken cable")
	report := func(p formats.Problem) { t.Errorf("a failing source is called damage: %+v", p) }
	for _, name := range []string{"hosted", "stream"} {
		image := formattest.Bytes(single()[name].build())
		count := &formattest.Counting{Source: image}
		if err := New().Check(t.Context(), count, formats.OpenOptions{}, report); err != nil {
			t.Fatal(err)
		}
		for at := int64(1); at <= count.Calls(); at++ {
			src := &formattest.Faulty{Source: image, At: at, Err: broken}
			if err := New().Check(t.Context(), src, formats.OpenOptions{}, report); !errors.Is(err, broken) {
				t.Errorf("%s: read %d of %d failed and Check = %v", name, at, count.Calls(), err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := New().Check(ctx, image, formats.OpenOptions{}, report); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: a cancelled Check = %v", name, err)
		}
		poke(image, 0, "version", 9)
		if name == "stream" {
			poke(image, int64(len(image)-2*sector), "version", 9)
		}
		if err := New().Check(t.Context(), image, formats.OpenOptions{}, report); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: Check of an unknown version = %v", name, err)
		}
	}
}

// TestCheckKnowsTheEndOfAStream: vmdk-convert puts directory and tables in front, as qemu does, and ends the file with a marker.
func TestCheckKnowsTheEndOfAStream(t *testing.T) {
	s := single()["stream, tables"]
	s.plainTables = true
	b := s.build()
	b = append(b, make([]byte, -len(b)&(sector-1))...)
	end := append(slices.Clone(b), make([]byte, sector)...)
	formattest.WantProblems(t, checkImage(t, formattest.Bytes(end), nil))
	far := append(slices.Clone(b), make([]byte, 300*sector)...)
	if found := checkImage(t, formattest.Bytes(far), nil); len(found) != 1 || !found[0].Leak {
		t.Errorf("300 sectors more: %v, want a leak", found)
	}
}
