package qcow

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

func put32(b []byte, off int, v uint32) { binary.BigEndian.PutUint32(b[off:], v) }

func hostileBase(t testing.TB) *builder {
	b := build(t, 12, 9, 64<<10)
	b.data(0, pattern(0, 4096))
	return b
}

func TestHostileHeaders(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(b []byte)
		kind   error
		words  string
	}{
		{"magic", func(b []byte) { b[0] = 'q' }, formats.ErrCorrupt, "magic"},
		{"version", func(b []byte) { put32(b, 4, 2) }, errors.ErrUnsupported, "version 2"},
		{"AES", func(b []byte) { put32(b, 36, 1) }, errors.ErrUnsupported, "encryption (AES)"},
		{"crypt 2", func(b []byte) { put32(b, 36, 2) }, errors.ErrUnsupported, "crypt_method 2"},
		{"cluster_bits 8", func(b []byte) { b[offClusterBits] = 8 }, formats.ErrCorrupt, "cluster_bits is 8"},
		{"cluster_bits 17", func(b []byte) { b[offClusterBits] = 17 }, formats.ErrCorrupt, "cluster_bits is 17"},
		{"l2_bits 5", func(b []byte) { b[offL2Bits] = 5 }, formats.ErrCorrupt, "l2_bits is 5"},
		{"l2_bits 14", func(b []byte) { b[offL2Bits] = 14 }, formats.ErrCorrupt, "l2_bits is 14"},
		{"size", func(b []byte) { put64(b, offSize, 1<<63) }, formats.ErrCorrupt, "size is"},
		{"L1 over the header", func(b []byte) { put64(b, offL1Table, 40) }, formats.ErrCorrupt, "l1_table_offset"},
		{"L1 out of the file", func(b []byte) { put64(b, offL1Table, 1<<64-8) }, formats.ErrCorrupt, "l1_table_offset"},
		{"L1 too large", func(b []byte) { put64(b, offSize, 1<<50) }, formats.ErrCorrupt, "536870912 entries"},
		{"long backing name", func(b []byte) { put64(b, offBackingOffset, 100); put32(b, offBackingSize, 1024) }, formats.ErrCorrupt, "backing_file_size is 1024"},
		{"backing name out of the file", func(b []byte) { put64(b, offBackingOffset, 1<<64-1); put32(b, offBackingSize, 9) }, formats.ErrCorrupt, "backing_file_offset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			image := hostileBase(t).image
			tt.change(image)
			_, err := New().Open(t.Context(), formattest.Bytes(image), formats.OpenOptions{})
			formattest.WantError(t, err, tt.kind, tt.words)
			found := 0
			err = New().Check(t.Context(), formattest.Bytes(image), formats.OpenOptions{}, func(formats.Problem) { found++ })
			if errors.Is(err, errors.ErrUnsupported) == (found > 0) {
				t.Errorf("check: %d problems, %v", found, err)
			}
		})
	}
	for n := range headerSize {
		_, err := New().Open(t.Context(), formattest.Bytes(hostileBase(t).image[:n]), formats.OpenOptions{})
		formattest.WantError(t, err, formats.ErrCorrupt, "header")
	}
	_, err := New().Open(t.Context(), formattest.Bytes(hostileBase(t).image), formats.OpenOptions{Snapshot: "x"})
	formattest.WantError(t, err, errors.ErrUnsupported, "no internal snapshots")
}

func TestHostileTables(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(b *builder)
		words  string
	}{
		{"L2 over the header", func(b *builder) { put64(b.image, headerSize, 8) }, "L2 table is at 0x8"},
		{"L2 out of the file", func(b *builder) { put64(b.image, headerSize, 1<<63) }, "within the file"},
		{"L2 over the file's end", func(b *builder) { put64(b.image, headerSize, uint64(len(b.image)-4095)) }, "within the file"},
		{"cluster not aligned", func(b *builder) { b.entry(0, 4096+8) }, "multiple of 512"},
		{"cluster out of the file", func(b *builder) { b.entry(0, 1<<50) }, "within the file"},
		{"cluster over the file's end", func(b *builder) { b.entry(0, uint64(len(b.image)-3584)) }, "within the file"},
		{"compressed over the header", func(b *builder) { b.entry(0, flagCompressed|100<<51|40) }, "after the header"},
		{"compressed out of the file", func(b *builder) { b.entry(0, flagCompressed|100<<51|1<<40) }, "within the file"},
		{"compressed over the file's end", func(b *builder) { b.entry(0, flagCompressed|100<<51|uint64(len(b.image)-99)) }, "within the file"},
		{"compressed nothing", func(b *builder) { b.entry(0, flagCompressed|4096) }, "not empty"},
		{"compressed garbage", func(b *builder) { b.packed(0, pattern(1, 700)) }, "deflate"},
		{"compressed short", func(b *builder) { b.packed(0, deflated(b.t, make([]byte, 4095))) }, "4095 bytes, must be 4096"},
		{"compressed long", func(b *builder) { b.packed(0, deflated(b.t, make([]byte, 1<<20))) }, "more than 4096"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := hostileBase(t)
			tt.change(b)
			img := formattest.Open(t, New(), b.image, formats.OpenOptions{})
			for _, n := range []int{4096, 8192} {
				formattest.WantError(t, img.ReadAt(t.Context(), make([]byte, n), 0), formats.ErrCorrupt, tt.words)
			}
			if damage, _ := checkImage(t, formattest.Bytes(b.image)); len(damage) == 0 {
				t.Error("check finds nothing")
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(b *builder)
		words  string
		leak   bool
	}{
		{"two entries for a cluster", func(b *builder) { b.entry(1, 8192); b.entry(0, 8192) }, "a cluster of 4096 bytes lies over", false},
		{"data over a table", func(b *builder) { b.entry(1, 4096) }, "lies over", false},
		{"data over a table and over data", func(b *builder) { b.entry(1, 4096); b.entry(2, 8192-512) }, "lies over", false},
		{"two entries for a table", func(b *builder) { put64(b.image, offSize, 3<<21); put64(b.image, headerSize+8, 4096) }, "a table of 4096 bytes lies over", false},
		{"compressed clusters over one another", func(b *builder) {
			b.compressed(1, pattern(1, 4096))
			e := binary.BigEndian.Uint64(b.image[4096+8:])
			b.entry(2, e+1)
			b.add(nil)
		}, "a compressed cluster", false},
		{"a cluster of nobody's", func(b *builder) { b.add(make([]byte, 4096)); b.data(5, pattern(5, 4096)); b.entry(0, 0) }, "belong to nothing", true},
		{"a tail of nobody's", func(b *builder) { b.image = append(b.image, make([]byte, 9000)...) }, "9000 bytes belong to nothing", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := hostileBase(t)
			tt.change(b)
			damage, leaks := checkImage(t, formattest.Bytes(b.image))
			found := damage
			if tt.leak {
				found = leaks
			}
			if len(found) == 0 || !strings.Contains(found[0].Text, tt.words) || tt.leak && len(damage) > 0 {
				t.Errorf("damage %v, leaks %v", damage, leaks)
			}
		})
	}
}

// Tables that lie over one another without number must not make a check long.
func TestCheckOfSharedTables(t *testing.T) {
	b := build(t, 9, 13, 1<<40)
	l2 := b.add(make([]byte, b.h.l2Size()))
	data := b.add(make([]byte, 512))
	for i := 0; i < int(b.h.l2Size()); i += 8 {
		put64(b.image, int(l2)+i, uint64(data))
	}
	for i := range int(b.h.l1Entries()) {
		put64(b.image, headerSize+i*8, uint64(l2))
	}
	begin := time.Now()
	if damage, _ := checkImage(t, formattest.Bytes(b.image)); len(damage) == 0 {
		t.Error("check finds nothing")
	}
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("the check took %v", took)
	}
}
