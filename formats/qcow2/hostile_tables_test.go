package qcow2

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// hostileTables are images whose disk cannot be read at 0.
var hostileTables = []struct {
	name                 string
	version, clusterBits uint32
	incompatible         uint64
	change               func(b *builder)
	words                []string
}{
	{"L2 table not aligned", 3, 12, 0, func(b *builder) { b.put(builtL1<<12, builtL2<<12+512) }, []string{"L1 table", "at 0x3000"}},
	{"L2 table out of the file", 3, 12, 0, func(b *builder) { b.put(builtL1<<12, 1<<50) }, []string{"L1 table", "within the file"}},
	{"L2 table over the file's end", 3, 12, 0, func(b *builder) { b.put(builtL1<<12, 5<<12); b.add(make([]byte, 4095)) }, []string{"L1 table", "within the file"}},
	{"cluster not aligned", 3, 12, 0, func(b *builder) { b.entry(0, 5<<12+512, 0); b.add(make([]byte, 8192)) }, []string{"multiple of the cluster size", "at 0x4000"}},
	{"cluster out of the file", 3, 12, 0, func(b *builder) { b.entry(0, 1<<50, 0) }, []string{"within the file"}},
	{"cluster over the file's end", 3, 12, 0, func(b *builder) { b.entry(0, 5<<12, 0); b.add(make([]byte, 4095)) }, []string{"within the file"}},
	{"zero cluster not aligned", 3, 12, 0, func(b *builder) { b.entry(0, 512|flagZero, 0) }, []string{"multiple of the cluster size"}},
	{"zero cluster in version 2", 2, 12, 0, func(b *builder) { b.entry(0, flagZero, 0) }, []string{"version 2"}},
	{"compressed over the header", 3, 12, 0, func(b *builder) { b.entry(0, flagCompressed|200, 0) }, []string{"header's cluster"}},
	{"compressed out of the file", 3, 12, 0, func(b *builder) { b.entry(0, flagCompressed|1<<50, 0) }, []string{"within the file"}},
	{"compressed garbage", 3, 12, 0, func(b *builder) { b.packed(0, pattern(1, 700)) }, []string{"compressed cluster", "deflate", "at 0x5000"}},
	{"compressed short", 3, 12, 0, func(b *builder) { b.packed(0, deflated(b.t, make([]byte, 4095))) }, []string{"4095 bytes, must be 4096"}},
	{"compressed long", 3, 12, 0, func(b *builder) { b.packed(0, deflated(b.t, make([]byte, 4097))) }, []string{"more than 4096"}},
	{"bomb", 3, 12, 0, func(b *builder) { b.packed(0, deflated(b.t, make([]byte, 4<<20))) }, []string{"more than 4096"}},
	{"compressed cut", 3, 12, 0, func(b *builder) { p := deflated(b.t, pattern(2, 4096)); b.packed(0, p[:len(p)-5]) }, []string{"deflate"}},
	{"zstd garbage", 3, 12, incompatCompression, func(b *builder) { b.packed(0, pattern(1, 700)) }, []string{"zstd"}},
	{"zstd short", 3, 12, incompatCompression, func(b *builder) { b.packed(0, b.encode(make([]byte, 4095))) }, []string{"4095 bytes, must be 4096"}},
	{"zstd long", 3, 12, incompatCompression, func(b *builder) { b.packed(0, b.encode(make([]byte, 4<<20))) }, []string{"more than 4096"}},
	{"zstd cut", 3, 12, incompatCompression, func(b *builder) { p := b.encode(pattern(2, 4096)); b.packed(0, p[:len(p)-5]) }, []string{"zstd"}},
	{"allocated and zero", 3, 14, incompatExtendedL2, func(b *builder) { b.entry(0, uint64(b.add(make([]byte, 1<<14))), 1<<5|1<<37) }, []string{"both allocated and zero"}},
	{"allocated without a cluster", 3, 14, incompatExtendedL2, func(b *builder) { b.entry(0, 0, 1) }, []string{"allocated in a cluster that is not"}},
	{"subcluster over the file's end", 3, 14, incompatExtendedL2, func(b *builder) { b.entry(0, uint64(b.add(make([]byte, 511))), 1) }, []string{"within the file"}},
}

func TestHostileTables(t *testing.T) {
	for _, tt := range hostileTables {
		t.Run(tt.name, func(t *testing.T) {
			b := build(t, tt.version, tt.clusterBits, tt.incompatible, 8<<tt.clusterBits)
			tt.change(b)
			image := b.bytes()
			img, err := open(t, image, formats.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			first := int64(100)
			if strings.Contains(tt.name, "over the file's end") {
				first = img.Info().ClusterSize // the bytes before are there
			}
			for _, n := range []int64{first, img.Info().ClusterSize, 2 * img.Info().ClusterSize} {
				p := make([]byte, n)
				formattest.WantError(t, img.ReadAt(t.Context(), p, 0), formats.ErrCorrupt, tt.words...)
			}
			if damage, _ := checkImage(t, formattest.Bytes(image)); len(damage) == 0 {
				t.Error("check finds nothing")
			}
		})
	}
}

// What is wrong with one cluster is no matter of the next.
func TestDamageIsLocal(t *testing.T) {
	b := build(t, 3, 12, 0, 64<<10)
	b.data(0, pattern(0, 4096))
	b.entry(1, 1<<50, 0)
	b.data(2, pattern(2, 4096))
	img := formattest.Open(t, newDriver(), b.bytes(), formats.OpenOptions{})
	p := make([]byte, 4096)
	for _, part := range b.disk.Parts {
		if err := img.ReadAt(t.Context(), p, part.Off); err != nil || string(p) != string(part.Data) {
			t.Errorf("at %d: wrong bytes or %v", part.Off, err)
		}
	}
	if e, err := img.Extent(t.Context(), 0, 64<<10); err != nil || e.Len != 4096 {
		t.Errorf("extent %v, %v", e, err)
	}
	formattest.WantError(t, img.ReadAt(t.Context(), make([]byte, 64<<10), 0), formats.ErrCorrupt, "bytes at 4096")
}

// snapshotAt appends a table with one snapshot, and returns where it is.
func (b *builder) snapshotAt(l1 uint64, l1Size uint32, extra int, size uint64) int64 {
	e := make([]byte, snapshotSize+extra+8)
	put64(e, 0, l1)
	put32(e, 8, l1Size)
	copy(e[12:], "\x00\x01\x00\x04")
	put32(e, 36, uint32(extra))
	if extra >= 16 {
		put64(e, 48, size)
	}
	copy(e[snapshotSize+extra:], "7good")
	off := b.add(e)
	b.h.snapshots, b.h.snapshotTable = 1, uint64(off)
	return off
}

func TestHostileSnapshots(t *testing.T) {
	for _, tt := range []struct {
		name         string
		l1           uint64
		l1Size       uint32
		extra        int
		size         uint64
		opens, loads bool
		words        string
	}{
		{"good", builtL1 << 12, 1, 16, 8 << 12, true, true, ""},
		{"more extra data", builtL1 << 12, 1, 24, 8 << 12, true, true, ""},
		{"no sizes in version 3", builtL1 << 12, 1, 0, 0, false, false, "at least 16"},
		{"much extra data", builtL1 << 12, 1, 1032, 0, false, false, "at most 1024"},
		{"L1 not aligned", builtL1<<12 + 8, 1, 16, 8 << 12, true, false, "l1_table_offset"},
		{"L1 over the header", 0, 1, 16, 8 << 12, true, false, "l1_table_offset"},
		{"L1 out of the file", 1 << 40, 1, 16, 8 << 12, true, false, "within the file"},
		{"L1 too large", builtL1 << 12, 1 << 20, 16, 8 << 12, true, false, "within the file"},
		{"L1 too small", builtL1 << 12, 1, 16, 1 << 30, true, false, "at least 512"},
		{"size", builtL1 << 12, 1, 16, 1 << 63, true, false, "the disk's size"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := build(t, 3, 12, 0, 8<<12)
			b.data(0, pattern(0, 4096))
			b.snapshotAt(tt.l1, tt.l1Size, tt.extra, tt.size)
			image := b.bytes()
			if _, err := open(t, image, formats.OpenOptions{}); (err == nil) != tt.opens {
				t.Errorf("open: %v", err)
			}
			for _, by := range []string{"7", "good"} {
				_, err := open(t, image, formats.OpenOptions{Snapshot: by})
				if tt.loads && err == nil {
					continue
				}
				formattest.WantError(t, err, formats.ErrCorrupt, tt.words)
			}
			checkImage(t, formattest.Bytes(image))
		})
	}
}

func TestSnapshotTableOverTheFilesEnd(t *testing.T) {
	b := build(t, 3, 12, 0, 8<<12)
	off := b.snapshotAt(builtL1<<12, 1, 16, 8<<12)
	b.h.snapshots = 2
	image := b.bytes()
	for n := int64(len(image)); n > off; n -= 7 {
		_, err := open(t, image[:n], formats.OpenOptions{})
		formattest.WantError(t, err, formats.ErrCorrupt, "snapshot", "within the file")
		if damage, _ := checkImage(t, formattest.Bytes(image[:n])); len(damage) == 0 {
			t.Error("check finds nothing")
		}
	}
}

func TestUnknownSnapshot(t *testing.T) {
	_, err := open(t, hostileBase(t), formats.OpenOptions{Snapshot: "before"})
	if err == nil || errors.Is(err, formats.ErrCorrupt) {
		t.Errorf("%v, want a complaint about the name", err)
	}
}

// TestCheckOfSharedTables: snapshots without number that share all tables must not make a check long.
func TestCheckOfSharedTables(t *testing.T) {
	const bits, cluster = 16, 1 << 16
	b := build(t, 3, bits, 0, 8<<bits)
	for i := range int64(cluster / 8) { // every entry of L1 is the one L2 table, every one of that the one cluster
		b.put(builtL1<<bits+i*8, builtL2<<bits)
		b.put(builtL2<<bits+i*8, builtData<<bits)
	}
	b.add(make([]byte, cluster))
	b.h.l1Size = cluster / 8
	var table []byte
	for i := range 2000 {
		e := make([]byte, 64)
		put64(e, 0, builtL1<<bits)
		put32(e, 8, cluster/8)
		put32(e, 36, 16)
		copy(e[12:], "\x00\x04\x00\x00")
		copy(e[56:], fmt.Sprint(1000+i))
		table = append(table, e...)
	}
	off := b.add(table)
	b.h.snapshots, b.h.snapshotTable = 2000, uint64(off)
	begin := time.Now()
	checkImage(t, formattest.Bytes(b.bytes()))
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("the check took %v", took)
	}
}
