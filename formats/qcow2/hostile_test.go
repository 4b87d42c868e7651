package qcow2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

func put32(b []byte, off int, v uint32) { binary.BigEndian.PutUint32(b[off:], v) }
func put64(b []byte, off int, v uint64) { binary.BigEndian.PutUint64(b[off:], v) }

// ext appends a header extension behind the header.
func ext(b []byte, kind uint32, body string) {
	put32(b, fullHeaderSize, kind)
	put32(b, fullHeaderSize+4, uint32(len(body)))
	copy(b[fullHeaderSize+8:], body)
}

// hostileHeaders are changes to the first cluster of a sound image of version 3 with clusters of 4 KiB.
var hostileHeaders = []struct {
	name   string
	change func(b []byte)
	kind   error
	words  []string
}{
	{"version 4", func(b []byte) { put32(b, offVersion, 4) }, errors.ErrUnsupported, []string{"version 4"}},
	{"version 0", func(b []byte) { put32(b, offVersion, 0) }, errors.ErrUnsupported, []string{"version 0"}},
	{"cluster_bits 8", func(b []byte) { put32(b, offClusterBits, 8) }, formats.ErrCorrupt, []string{"cluster_bits is 8", "at 0x14"}},
	{"cluster_bits 22", func(b []byte) { put32(b, offClusterBits, 22) }, formats.ErrCorrupt, []string{"cluster_bits is 22"}},
	{"cluster_bits 2^32-1", func(b []byte) { put32(b, offClusterBits, 1<<32-1) }, formats.ErrCorrupt, []string{"cluster_bits"}},
	{"size", func(b []byte) { put64(b, offSize, 1<<63) }, formats.ErrCorrupt, []string{"size is 9223372036854775808"}},
	{"size 2^64-1", func(b []byte) { put64(b, offSize, 1<<64-1) }, formats.ErrCorrupt, []string{"size is"}},
	{"size beyond L1", func(b []byte) { put64(b, offSize, 2<<21+512) }, formats.ErrCorrupt, []string{"l1_size is 1", "at least 3"}},
	{"l1_size beyond the file", func(b []byte) { put32(b, offL1Size, 1<<32-1) }, formats.ErrCorrupt, []string{"l1_size is 4294967295", "within the file"}},
	{"L1 not aligned", func(b []byte) { put64(b, offL1Table, 3<<12+8) }, formats.ErrCorrupt, []string{"l1_table_offset"}},
	{"L1 over the header", func(b []byte) { put64(b, offL1Table, 0) }, formats.ErrCorrupt, []string{"l1_table_offset is 0"}},
	{"L1 at the end of 64 bits", func(b []byte) { put64(b, offL1Table, 1<<64-1<<12) }, formats.ErrCorrupt, []string{"l1_size"}},
	{"backing name outside of the cluster", func(b []byte) { put64(b, offBackingOffset, 4097); put32(b, offBackingSize, 10) }, formats.ErrCorrupt, []string{"backing_file_offset"}},
	{"backing name over the cluster's end", func(b []byte) { put64(b, offBackingOffset, 4000); put32(b, offBackingSize, 100) }, formats.ErrCorrupt, []string{"backing_file_size is 100"}},
	{"backing name of 1024 bytes", func(b []byte) { put64(b, offBackingOffset, 1000); put32(b, offBackingSize, 1024) }, formats.ErrCorrupt, []string{"backing_file_size is 1024"}},
	{"AES", func(b []byte) { put32(b, offCryptMethod, 1) }, errors.ErrUnsupported, []string{"encryption (AES)"}},
	{"LUKS", func(b []byte) { put32(b, offCryptMethod, 2) }, errors.ErrUnsupported, []string{"encryption (LUKS)"}},
	{"crypt 3", func(b []byte) { put32(b, offCryptMethod, 3) }, errors.ErrUnsupported, []string{"crypt_method 3"}},
	{"corrupt", func(b []byte) { put64(b, offIncompatible, incompatCorrupt) }, formats.ErrCorrupt, []string{"corrupt bit"}},
	{"data file", func(b []byte) { put64(b, offIncompatible, incompatDataFile) }, errors.ErrUnsupported, []string{"external data file"}},
	{"data file by name", func(b []byte) { put64(b, offIncompatible, incompatDataFile); ext(b, extDataFile, "disk.data") }, errors.ErrUnsupported, []string{`"disk.data"`}},
	{"unknown feature", func(b []byte) { put64(b, offIncompatible, 1<<40|1<<50) }, errors.ErrUnsupported, []string{"bit 40"}},
	{"unknown feature by name", func(b []byte) {
		put64(b, offIncompatible, 1<<40)
		ext(b, extFeatureNames, "\x01\x28"+strings.Repeat("n", 46)+"\x00\x28quantum tunnels"+strings.Repeat("\x00", 31))
	}, errors.ErrUnsupported, []string{`"quantum tunnels"`, "bit 40"}},
	{"compression without its bit", func(b []byte) { b[offCompressionType] = 1 }, formats.ErrCorrupt, []string{"compression_type is 1"}},
	{"bit without compression", func(b []byte) { put64(b, offIncompatible, incompatCompression) }, formats.ErrCorrupt, []string{"compression_type is 0"}},
	{"compression_type 2", func(b []byte) { put64(b, offIncompatible, incompatCompression); b[offCompressionType] = 2 }, errors.ErrUnsupported, []string{"compression_type 2"}},
	{"subclusters too small", func(b []byte) { put64(b, offIncompatible, incompatExtendedL2) }, formats.ErrCorrupt, []string{"cluster_bits is 12", "extended"}},
	{"refcount_order", func(b []byte) { put32(b, offRefcountOrder, 7) }, formats.ErrCorrupt, []string{"refcount_order is 7"}},
	{"header_length short", func(b []byte) { put32(b, offHeaderLength, 96) }, formats.ErrCorrupt, []string{"header_length is 96"}},
	{"header_length long", func(b []byte) { put32(b, offHeaderLength, 4104) }, formats.ErrCorrupt, []string{"header_length is 4104"}},
	{"extension too long", func(b []byte) { ext(b, 0x1234, ""); put32(b, fullHeaderSize+4, 1<<32-1) }, formats.ErrCorrupt, []string{"extension 0x1234"}},
	{"extension over the backing name", func(b []byte) {
		put64(b, offBackingOffset, 200)
		put32(b, offBackingSize, 4)
		ext(b, 0x1234, strings.Repeat("x", 90))
	}, formats.ErrCorrupt, []string{"extension 0x1234"}},
	{"long backing format", func(b []byte) { ext(b, extBackingFormat, "sixteen letters!") }, formats.ErrCorrupt, []string{"backing file format"}},
	{"short bitmaps extension", func(b []byte) { ext(b, extBitmaps, "short") }, formats.ErrCorrupt, []string{"bitmaps"}},
	{"65537 snapshots", func(b []byte) { put32(b, offSnapshots, 65537) }, formats.ErrCorrupt, []string{"nb_snapshots is 65537"}},
	{"snapshots over the header", func(b []byte) { put32(b, offSnapshots, 1) }, formats.ErrCorrupt, []string{"snapshots_offset is 0"}},
	{"snapshots not aligned", func(b []byte) { put32(b, offSnapshots, 1); put64(b, offSnapshotTable, 100) }, formats.ErrCorrupt, []string{"snapshots_offset is 100"}},
	{"snapshots at the end of 64 bits", func(b []byte) { put32(b, offSnapshots, 1); put64(b, offSnapshotTable, 1<<64-1<<12) }, formats.ErrCorrupt, []string{"snapshots_offset"}},
	{"snapshots out of the file", func(b []byte) { put32(b, offSnapshots, 1); put64(b, offSnapshotTable, 1<<40) }, formats.ErrCorrupt, []string{"snapshots_offset"}},
}

// hostileBase is an image with one data cluster.
func hostileBase(t *testing.T) []byte {
	b := build(t, 3, 12, 0, 64<<10)
	b.data(0, pattern(0, 4096))
	return b.bytes()
}

func open(t *testing.T, image []byte, opts formats.OpenOptions) (formats.Image, error) {
	return formats.Set{Drivers: []formats.Driver{newDriver()}}.Open(t.Context(), formattest.Bytes(image), "", opts)
}

func TestHostileHeaders(t *testing.T) {
	for _, tt := range hostileHeaders {
		t.Run(tt.name, func(t *testing.T) {
			image := hostileBase(t)
			tt.change(image)
			_, err := open(t, image, formats.OpenOptions{})
			formattest.WantError(t, err, tt.kind, tt.words...)
			found := 0
			err = newDriver().Check(t.Context(), formattest.Bytes(image), formats.OpenOptions{}, func(formats.Problem) { found++ })
			if unread := errors.Is(tt.kind, errors.ErrUnsupported); unread != errors.Is(err, errors.ErrUnsupported) || !unread && found == 0 {
				t.Errorf("check: %d problems, %v", found, err)
			}
		})
	}
}

func TestShortFiles(t *testing.T) {
	image := hostileBase(t)
	for _, n := range []int{8, 71, 72, 103, 111, 512, 4095} {
		_, err := open(t, image[:n], formats.OpenOptions{})
		formattest.WantError(t, err, formats.ErrCorrupt)
	}
	_, err := newDriver().Open(t.Context(), formattest.Bytes(image[:2]), formats.OpenOptions{})
	formattest.WantError(t, err, formats.ErrCorrupt, "2 bytes")
	_, err = newDriver().Open(t.Context(), formattest.Bytes("not an image"+string(make([]byte, 200))), formats.OpenOptions{})
	formattest.WantError(t, err, formats.ErrCorrupt, "magic")
}

// What is merely unusual does not keep an image from being read.
func TestHarmlessHeaders(t *testing.T) {
	for name, change := range map[string]func(b []byte){
		"dirty":             func(b []byte) { put64(b, offIncompatible, incompatDirty) },
		"compatible":        func(b []byte) { put64(b, offCompatible, 1<<64-1) },
		"autoclear":         func(b []byte) { put64(b, offAutoclear, 1<<64-1) },
		"no refcounts":      func(b []byte) { put64(b, offRefcountTable, 1<<60); put32(b, offRefcountSize, 1<<32-1) },
		"unknown extension": func(b []byte) { ext(b, 0x1234, "whatever") },
		"longer header":     func(b []byte) { put32(b, offHeaderLength, 4096) },
		"shortest header":   func(b []byte) { put32(b, offHeaderLength, 104) },
		"part of a sector":  func(b []byte) { put64(b, offSize, 64<<10+511) },
		"empty backing":     func(b []byte) { put64(b, offBackingOffset, 4096) },
	} {
		t.Run(name, func(t *testing.T) {
			image := hostileBase(t)
			change(image)
			img, err := open(t, image, formats.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := formattest.ReadAll(t, img); len(got) != 64<<10 || !bytes.Equal(got[:4096], pattern(0, 4096)) {
				t.Errorf("%d wrong bytes", len(got))
			}
		})
	}
}

// TestHugeClaimsTakeNoMemory opens small files that claim much.
func TestHugeClaimsTakeNoMemory(t *testing.T) {
	for name, change := range map[string]func(b []byte){
		"L1":        func(b []byte) { put32(b, offL1Size, 1<<32-1); put64(b, offSize, 1<<53) },
		"snapshots": func(b []byte) { put32(b, offSnapshots, 65536); put64(b, offSnapshotTable, 4<<12) },
	} {
		image := hostileBase(t)
		change(image)
		d := newDriver()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := d.Open(t.Context(), formattest.Bytes(image), formats.OpenOptions{})
		runtime.ReadMemStats(&after)
		formattest.WantError(t, err, formats.ErrCorrupt)
		if used := after.TotalAlloc - before.TotalAlloc; used > 256<<10 {
			t.Errorf("%s: refusing the claim took %d bytes of memory", name, used)
		}
	}
}
