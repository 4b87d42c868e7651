package qcow2

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// checkImage lists what is wrong with an image.
func checkImage(t testing.TB, src formats.Source) (damage, leaks []formats.Problem) {
	t.Helper()
	for _, p := range formattest.Problems(t, newDriver(), src, formats.OpenOptions{}) {
		if p.Leak {
			leaks = append(leaks, p)
		} else {
			damage = append(damage, p)
		}
	}
	return damage, leaks
}

// qemuCheck tells whether qemu-img finds damage and leaks.
func qemuCheck(t testing.TB, path string) (damage, leaks bool) {
	t.Helper()
	out, code := formattest.QemuExit(t, "qemu-img", "check", "--output=json", "-f", "qcow2", path)
	var report struct {
		Corruptions, Leaks int
		CheckErrors        int `json:"check-errors"`
	}
	// Messages may follow the JSON, or be all there is if the tables cannot be read.
	if err := json.NewDecoder(bytes.NewReader(out)).Decode(&report); err != nil && code != 1 {
		t.Fatalf("qemu-img check: %s", out)
	}
	return report.Corruptions > 0 || report.CheckErrors > 0 || code == 1, report.Leaks > 0
}

func sameCheckAsQEMU(t *testing.T, image []byte) (damage, leaks []formats.Problem) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.qcow2")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	wantDamage, wantLeaks := qemuCheck(t, path)
	damage, leaks = checkImage(t, formattest.Bytes(image))
	if (len(damage) > 0) != wantDamage || (len(leaks) > 0) != wantLeaks {
		t.Errorf("damage %v, leaks %v; qemu-img finds damage: %v, leaks: %v", damage, leaks, wantDamage, wantLeaks)
	}
	return damage, leaks
}

// parts finds the structures of an image with one L2 table.
type parts struct {
	image               []byte
	h                   header
	l1, l2, table, refs int64
}

func partsOf(image []byte) parts {
	p := parts{image: image, h: decodeHeader(image)}
	p.l1, p.table = int64(p.h.l1Table), int64(p.h.refcountTable)
	p.l2 = int64(p.get(p.l1) & offsetMask)
	p.refs = int64(p.get(p.table))
	return p
}

func (p parts) get(off int64) uint64    { return binary.BigEndian.Uint64(p.image[off:]) }
func (p parts) set(off int64, v uint64) { binary.BigEndian.PutUint64(p.image[off:], v) }

// refcount changes that of a cluster, if refcounts have 16 bits.
func (p parts) refcount(cluster int64, v uint16) {
	binary.BigEndian.PutUint16(p.image[p.refs+cluster*2:], v)
}

// data is the cluster that the L2 entry of that number refers to.
func (p parts) data(i int64) int64 { return int64(p.get(p.l2+i*8)&offsetMask) >> p.h.clusterBits }

func (p parts) end() int64 { return int64(len(p.image)) >> p.h.clusterBits }

// damages are changes to a sound image of 8 data clusters of 4 KiB.
var damages = []struct {
	name   string
	damage func(p parts)
}{
	{"none", func(parts) {}},
	{"leak", func(p parts) { p.set(p.l2, 0) }},
	{"refcount of nothing", func(p parts) { p.refcount(p.end()-1, 1); p.set(p.l2+7*8, 0) }},
	{"refcount too low", func(p parts) { p.refcount(p.data(3), 0) }},
	{"refcount too high", func(p parts) { p.refcount(p.data(3), 2) }},
	{"refcount of the header", func(p parts) { p.refcount(0, 0) }},
	{"two entries for a cluster", func(p parts) { p.set(p.l2+8, p.get(p.l2)) }},
	{"data over the L1 table", func(p parts) { p.set(p.l2+8, uint64(p.l1)|flagCopied) }},
	{"data over a refcount block", func(p parts) { p.set(p.l2+8, uint64(p.refs)|flagCopied) }},
	{"cluster out of the file", func(p parts) { p.set(p.l2+8, uint64(p.end()+5)<<12|flagCopied) }},
	{"cluster not aligned", func(p parts) { p.set(p.l2+8, p.get(p.l2+8)+512) }},
	{"L2 table out of the file", func(p parts) { p.set(p.l1, uint64(p.end()+5)<<12|flagCopied) }},
	{"L2 table not aligned", func(p parts) { p.set(p.l1, p.get(p.l1)+512) }},
	{"refcount block out of the file", func(p parts) { p.set(p.table, uint64(p.end()+5)<<12) }},
	{"refcount block not aligned", func(p parts) { p.set(p.table, p.get(p.table)+512) }},
	{"second entry for a refcount block", func(p parts) { p.set(p.table+8, p.get(p.table)) }},
	{"no refcount block", func(p parts) { p.set(p.table, 0) }},
	{"flag missing in L1", func(p parts) { p.set(p.l1, p.get(p.l1)&^flagCopied) }},
	{"flag missing in L2", func(p parts) { p.set(p.l2+16, p.get(p.l2+16)&^flagCopied) }},
	{"reserved bit in L1", func(p parts) { p.set(p.l1, p.get(p.l1)|1<<60) }},
	{"reserved bit in L2", func(p parts) { p.set(p.l2, p.get(p.l2)|2) }},
	{"refcount table out of the file", func(p parts) { p.set(offRefcountTable, uint64(p.end()+5)<<12) }},
	{"no refcount table", func(p parts) { p.set(offRefcountTable+4, 0) }},
	{"dirty", func(p parts) { p.set(offIncompatible, incompatDirty); p.refcount(p.data(0), 0) }},
	{"a compressed cluster with the flag", func(p parts) {
		p.set(p.l2, uint64(p.data(0))<<12|flagCompressed|flagCopied)
	}},
}

func TestSameDamageAsQEMU(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.qcow2")
	formattest.Qemu(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", path, "64k")
	formattest.QemuIO(t, path, "write -P 1 0 32k")
	good := formattest.ReadFile(t, path)
	for _, tt := range damages {
		t.Run(tt.name, func(t *testing.T) {
			p := partsOf(slices.Clone(good))
			tt.damage(p)
			sameCheckAsQEMU(t, p.image)
		})
	}
}

func TestSnapshotsAndBitmapsAreSound(t *testing.T) {
	dir := t.TempDir()
	raw := writeRaw(t, dir, content(1<<20+1536))
	path := filepath.Join(dir, "snapshots.qcow2")
	convert(t, raw, path, "-c -o cluster_size=4k")
	for i := range 3 {
		formattest.Qemu(t, "qemu-img", "snapshot", "-c", fmt.Sprint(i), path)
		formattest.QemuIO(t, path, fmt.Sprintf("write -P %d %dk 30k", i+1, i*100))
	}
	formattest.Qemu(t, "qemu-img", "bitmap", "--add", "--enable", "-g", "4096", path, "changes")
	formattest.QemuIO(t, path, "write 5k 500k")
	sound := formattest.ReadFile(t, path)
	wantSound(t, formattest.Bytes(sound))
	damage, _ := sameCheckAsQEMU(t, sound)
	if len(damage) > 0 {
		t.Error(damage)
	}
}

func wantSound(t *testing.T, src formats.Source) {
	t.Helper()
	if damage, leaks := checkImage(t, src); len(damage)+len(leaks) > 0 {
		t.Errorf("damage %v, leaks %v", damage, leaks)
	}
}

// A file with more clusters than are counted at once is gone through in passes.
func TestCounterInPasses(t *testing.T) {
	const limit, chunks = 8, 3 * 8
	rnd := rand.New(rand.NewPCG(1, 9))
	want := map[int64]uint32{}
	for range 100 * chunks {
		want[rnd.Int64N(chunks*chunkClusters)]++
	}
	got, passes := map[int64]uint32{}, 0
	for start := int64(0); start < chunks*chunkClusters; passes++ {
		c := newCounter(start, chunks*chunkClusters)
		c.limit = limit
		for cluster, n := range want {
			c.add(cluster, useData, n)
		}
		for key, chunk := range c.chunks {
			for i, cell := range chunk {
				if cell != 0 {
					got[key*chunkClusters+int64(i)] += cell & useCount
				}
			}
		}
		start = c.end
	}
	if !maps.Equal(got, want) || passes < 3 || passes > 7 {
		t.Errorf("%d clusters in %d passes, want %d", len(got), passes, len(want))
	}
}
