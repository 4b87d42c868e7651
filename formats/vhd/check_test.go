package vhd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// checkImage collects what Check finds.
func checkImage(t *testing.T, image []byte) []formats.Problem {
	t.Helper()
	return formattest.Problems(t, Driver{}, formattest.Bytes(image), formats.OpenOptions{})
}

// wantProblems wants Check to find these, each by words of its text, in file order, and no others; "leak: …" is marked as one.
func wantProblems(t *testing.T, image []byte, want ...string) {
	t.Helper()
	found := checkImage(t, image)
	if len(found) != len(want) {
		t.Fatalf("%d problems, want %d: %+v", len(found), len(want), found)
	}
	for i, p := range found {
		words, leak := strings.CutPrefix(want[i], "leak: ")
		if p.Leak != leak || !strings.Contains(p.Text, words) {
			t.Errorf("problem %d is %+v, want %q", i, p, want[i])
		}
		if i > 0 && p.Off < found[i-1].Off {
			t.Errorf("problem %d at %#x comes after one at %#x", i, p.Off, found[i-1].Off)
		}
	}
}

func TestCheckFindsNothingWrong(t *testing.T) {
	aligned := small()
	aligned.gap = 4096
	short := small().build()
	spare := small()
	spare.change = func(f *footer, _ *header) { copy(f.creatorApp[:], "vpc "); f.geometry = geometry{1, 1, 20} } // block 3 is behind the end
	chs := fixedDisk(16384)
	chs.app, chs.geometry = "vpc ", geometry{1, 3, 10}
	for name, image := range map[string][]byte{
		"fixed": fixedDisk(8192).build(), "dynamic": small().build(), "differencing": child().build(), "aligned": aligned.build(),
		"short": short[:len(short)-1], "more blocks than the geometry": spare.build(), "more bytes than the geometry": chs.build(),
		"batmap": withBatmap(),
	} {
		t.Run(name, func(t *testing.T) { wantProblems(t, image) })
	}
}

// withBatmap is small as XenServer writes it: behind the BAT a header and, behind a hole, the map itself.
func withBatmap() []byte {
	image := small().build()
	batmap := make([]byte, 512+8192+512)
	copy(batmap, "tdbatmap")
	binary.BigEndian.PutUint64(batmap[8:], 2048+512+8192-512*9)
	binary.BigEndian.PutUint32(batmap[16:], 10)
	for e := image[1536:1552]; len(e) > 0; e = e[4:] {
		if s := binary.BigEndian.Uint32(e); s != unused {
			binary.BigEndian.PutUint32(e, s+uint32(len(batmap)/512))
		}
	}
	return append(append(bytes.Clone(image[:2048]), batmap...), image[2048:]...)
}

func TestCheckFindsDamage(t *testing.T) {
	be := binary.BigEndian
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		want   []string
	}{
		{"copy lost", func(b []byte) []byte { clear(b[:512]); return b }, []string{"copy of the footer: cookie"}},
		{"copy differs", func(b []byte) []byte {
			f := decodeFooter(b)
			f.currentSize, f.savedState = 4096, 1
			copy(b, f.encode())
			return b
		},
			[]string{"copy of the footer: current_size is", "copy of the footer: saved_state is 01"}},
		{"footer lost", func(b []byte) []byte { return b[:len(b)-512] }, []string{"footer: cookie"}},
		{"footer damaged", func(b []byte) []byte { b[len(b)-440]++; return b }, []string{"footer: checksum"}},
		{"both damaged", func(b []byte) []byte { b[100]++; b[len(b)-440]++; return b }, []string{"footer: checksum"}},
		{"header damaged", func(b []byte) []byte { b[600]++; return b }, []string{"header: checksum"}},
		{"out of range, twice", func(b []byte) []byte { be.PutUint32(b[1536:], 1<<30); be.PutUint32(b[1536+8:], 1); return b },
			[]string{"BAT: block 0", "BAT: block 2", "BAT: block 2"}},
		{"a block lost", func(b []byte) []byte { be.PutUint32(b[1536+12:], unused); return b }, []string{"leak: 4608 bytes belong to nothing"}},
		{"the last block lost", func(b []byte) []byte { be.PutUint32(b[1536+4:], unused); return b }, []string{"leak: 4608 bytes belong to nothing"}},
		{"two blocks in one place", func(b []byte) []byte { copy(b[1536+8:1536+12], b[1536+4:]); return b }, []string{"block 2 overlaps block 1"}},
		{"overlapping blocks", func(b []byte) []byte { be.PutUint32(b[1536+8:], 5); return b }, []string{"block 2 overlaps block 3", "block 1 overlaps block 2"}},
		{"bytes after the footer", func(b []byte) []byte { return append(b, make([]byte, 100_000)...) }, []string{"100000 bytes follow the footer", "footer: cookie"}},
		{"garbage after the blocks", func(b []byte) []byte {
			return append(b[:len(b)-512:len(b)-512], append(make([]byte, 8192), b[len(b)-512:]...)...)
		},
			[]string{"leak: 8192 bytes"}},
		{"unused and used", func(b []byte) []byte { b[2048] = 0x0f; return b }, []string{"sector bitmap of block 3: the sectors from 0 on"}},
		{"a footer that cannot be", func(b []byte) []byte {
			f := decodeFooter(b)
			f.dataOffset = 1 << 40
			copy(b, f.encode())
			copy(b[len(b)-512:], f.encode())
			return b
		}, []string{"data_offset"}},
		{"a header that cannot be", func(b []byte) []byte {
			h := decodeHeader(b[512:])
			h.blockSize, h.tableOffset = 3, 3
			copy(b[512:], h.encode())
			return b
		}, []string{"table_offset", "max_table_entries", "block_size"}},
	} {
		t.Run(c.name, func(t *testing.T) { wantProblems(t, c.change(small().build()), c.want...) })
	}
}

func TestCheckOfFixedAndDifferencing(t *testing.T) {
	longer := fixedDisk(8192)
	longer.disk = make([]byte, 8192+5000)
	wantProblems(t, longer.build(), "leak: 5000 bytes belong to nothing")
	cut := fixedDisk(8192)
	cut.disk = cut.disk[:4096]
	wantProblems(t, cut.build(), "at most the 4096 bytes")
	far := child()
	far.change = func(_ *footer, h *header) {
		h.locators[3] = locator{code: [4]byte{'M', 'a', 'c', ' '}, bytes: 5, offset: 1 << 33}
	}
	wantProblems(t, far.build(), "parent locator 3")
	shared := child()
	shared.change = func(_ *footer, h *header) { h.locators[1].offset = 4096 }
	wantProblems(t, shared.build(), "parent locator 1 overlaps block 0")
}

func TestCheckReturnsWhatKeptItFromLooking(t *testing.T) {
	broken := errors.New("broken cable")
	report := func(p formats.Problem) { t.Errorf("a failing source is called damage: %v", p) }
	for _, image := range []formattest.Bytes{small().build(), child().build(), withBatmap()} {
		count := &formattest.Counting{Source: image}
		if err := (Driver{}).Check(t.Context(), count, formats.OpenOptions{}, report); err != nil {
			t.Fatal(err)
		}
		for at := int64(1); at <= count.Calls(); at++ {
			src := &formattest.Faulty{Source: image, At: at, Err: broken}
			if err := (Driver{}).Check(t.Context(), src, formats.OpenOptions{}, report); !errors.Is(err, broken) {
				t.Errorf("read %d of %d failed and Check = %v", at, count.Calls(), err)
			}
		}
	}
	image := changed(small(), func(_ *footer, h *header) { h.version = 7 })
	if err := (Driver{}).Check(t.Context(), formattest.Bytes(image), formats.OpenOptions{}, report); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Check of an unknown version = %v", err)
	}
}

// TestCheckOfManyProblemsIsBounded has a table all of whose entries are one block.
func TestCheckOfManyProblemsIsBounded(t *testing.T) {
	b := &builder{kind: typeDynamic, size: 30_000 * 4096, blockSize: 4096, blocks: []block{patterned(0, 4096)}}
	image := b.build()
	for e := image[1536+4 : 1536+30_000*4]; len(e) > 0; e = e[4:] {
		copy(e, image[1536:1540])
	}
	found := checkImage(t, image)
	last := found[len(found)-1]
	if len(found) != formats.MaxFindings+1 || !strings.Contains(last.Text, "19999 more problems") {
		t.Errorf("%d problems, the last %v", len(found), last)
	}
}

// TestCheckOfManyBlocksIsBounded has a table of more blocks than are kept in memory.
func TestCheckOfManyBlocksIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine computes, so there is nothing for the race detector: tested without it, not -short")
	}
	b := &builder{kind: typeDynamic, size: (maxRefs + 1) * 512, blockSize: 512}
	f, h := b.parts()
	end := roundUp(1536+int64(h.maxTableEntries)*4, 512)
	table := bytes.Repeat(binary.BigEndian.AppendUint32(nil, uint32(end/512)), int(h.maxTableEntries))
	src := formattest.Sparse{Bytes: end + 1024 + 512, Parts: []formattest.Part{
		{Off: 0, Data: append(f.encode(), h.encode()...)}, {Off: 1536, Data: table}, {Off: end + 1024, Data: f.encode()},
	}}
	err := Driver{}.Check(t.Context(), src, formats.OpenOptions{}, func(p formats.Problem) { t.Errorf("%+v", p) })
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Check = %v", err)
	}
}
