package qed

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// TestHostileHeaders has every rule broken, in an otherwise good file.
func TestHostileHeaders(t *testing.T) {
	tests := []struct {
		name  string
		at    int64
		width int
		value uint64
		kind  error
		words []string
	}{
		{"magic", 0, 4, 0x01444551, formats.ErrCorrupt, []string{"magic"}},
		{"no cluster size", 4, 4, 0, formats.ErrCorrupt, []string{"cluster_size"}},
		{"cluster size 2048", 4, 4, 2048, formats.ErrCorrupt, []string{"cluster_size"}},
		{"cluster size 12 KiB", 4, 4, 12 << 10, formats.ErrCorrupt, []string{"cluster_size"}},
		{"cluster size 128 MiB", 4, 4, 128 << 20, formats.ErrCorrupt, []string{"cluster_size"}},
		{"no table size", 8, 4, 0, formats.ErrCorrupt, []string{"table_size"}},
		{"table size 3", 8, 4, 3, formats.ErrCorrupt, []string{"table_size"}},
		{"table size 32", 8, 4, 32, formats.ErrCorrupt, []string{"table_size"}},
		{"table longer than the file", 8, 4, 16, formats.ErrCorrupt, []string{"l1_table_offset", "lie within the file"}},
		{"no header size", 12, 4, 0, formats.ErrCorrupt, []string{"header_size"}},
		{"header over the L1 table", 12, 4, 2, formats.ErrCorrupt, []string{"l1_table_offset", "after the header"}},
		{"header size huge", 12, 4, 0xffff_ffff, formats.ErrCorrupt, []string{"l1_table_offset", "after the header"}},
		{"unknown feature", 16, 8, 1<<40 | 8, errors.ErrUnsupported, []string{"features 0x10000000008"}},
		{"L1 at 0", 40, 8, 0, formats.ErrCorrupt, []string{"l1_table_offset"}},
		{"L1 unaligned", 40, 8, 4097, formats.ErrCorrupt, []string{"l1_table_offset", "multiple of cluster_size"}},
		{"L1 after the file", 40, 8, 1 << 20, formats.ErrCorrupt, []string{"l1_table_offset", "lie within the file"}},
		{"L1 far after the file", 40, 8, 1<<64 - 4096, formats.ErrCorrupt, []string{"l1_table_offset", "lie within the file"}},
		{"an odd image size", 48, 8, 511, formats.ErrCorrupt, []string{"image_size"}},
		{"image size odd", 48, 8, 1000, formats.ErrCorrupt, []string{"image_size", "512"}},
		{"image size beyond the tables", 48, 8, 1<<30 + 512, formats.ErrCorrupt, []string{"image_size", "1073741824"}},
		{"image size huge", 48, 8, 1<<64 - 512, formats.ErrCorrupt, []string{"image_size"}},
		{"name without a length", 60, 4, 0, formats.ErrCorrupt, []string{"backing_filename_size"}},
		{"name too long", 60, 4, 4096, formats.ErrCorrupt, []string{"backing_filename_size"}},
		{"name after the header", 56, 4, 4096 - 7, formats.ErrCorrupt, []string{"backing_filename_offset"}},
		{"name far away", 56, 4, 0xffff_ffff, formats.ErrCorrupt, []string{"backing_filename_offset"}},
		{"name with a zero", 56, 4, 101, formats.ErrCorrupt, []string{"zero byte", "0x65"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			image, _ := build{size: 1 << 20, data: []int64{1, 2, 3}, backing: "base.img"}.image()
			var v [8]byte
			binary.LittleEndian.PutUint64(v[:], tt.value)
			copy(image[tt.at:], v[:tt.width])
			_, err := Driver{}.Open(t.Context(), formattest.Bytes(image), formats.OpenOptions{})
			formattest.WantError(t, err, tt.kind, tt.words...)
			n := 0
			err = Driver{}.Check(t.Context(), formattest.Bytes(image), formats.OpenOptions{}, func(formats.Problem) { n++ })
			if unsupported := tt.kind == errors.ErrUnsupported; errors.Is(err, errors.ErrUnsupported) != unsupported || (n > 0) == unsupported {
				t.Errorf("check: %v and %d problems", err, n)
			}
		})
	}
}

func TestShortFilesAreRefused(t *testing.T) {
	image, _ := build{size: 1 << 20, data: []int64{0}}.image()
	for _, n := range []int{0, 1, 4, 71, 72, 4096, 8191} {
		_, err := Driver{}.Open(t.Context(), formattest.Bytes(image[:n]), formats.OpenOptions{})
		formattest.WantError(t, err, formats.ErrCorrupt)
		if got := problems(t, formattest.Bytes(image[:n])); len(got) == 0 {
			t.Errorf("check of %d bytes finds nothing", n)
		}
	}
}

func TestSnapshotsAreRefused(t *testing.T) {
	image, _ := build{size: 1 << 20}.image()
	_, err := Driver{}.Open(t.Context(), formattest.Bytes(image), formats.OpenOptions{Snapshot: "a"})
	formattest.WantError(t, err, errors.ErrUnsupported, "snapshot")
}

// TestHostileEntries: what a bad entry is about is an error, and no zeros; all else is read. The L2 table is at 8192, the
// clusters 1 to 3 behind it.
func TestHostileEntries(t *testing.T) {
	const end = 12288 + 3*4096
	tests := []struct {
		name  string
		at    int64
		value uint64
		words []string
	}{
		{"L2 table unaligned", l1At, 8193, []string{"L1 entry 0", "0x1000", "multiple"}},
		{"L2 table is a zero cluster", l1At, 1, []string{"L1 entry 0", "multiple"}},
		{"L2 table in the header", l1At, 1 << 63, []string{"L1 entry 0", "within the file"}},
		{"L2 table after the file", l1At, end, []string{"L1 entry 0", "within the file"}},
		{"data unaligned", 8192 + 16, 12288 + 512, []string{"L2 entry 2", "0x2010", "multiple"}},
		{"data at 2", 8192 + 16, 2, []string{"L2 entry 2", "multiple"}},
		{"data after the file", 8192 + 16, end, []string{"L2 entry 2", "within the file"}},
		{"data far after the file", 8192 + 16, 1<<64 - 4096, []string{"L2 entry 2", "within the file"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			image, disk := build{size: 3 << 20, data: []int64{1, 2, 3}, put: map[int64]uint64{tt.at: tt.value}}.image()
			img := openSource(t, formattest.Bytes(image))
			p, want := make([]byte, 4*4096), make([]byte, 4096)
			formattest.WantError(t, img.ReadAt(t.Context(), p, 0), formats.ErrCorrupt, tt.words...)
			disk.Fill(want, 4096)
			err := img.ReadAt(t.Context(), p[:4096], 4096)
			if tt.at != l1At && (err != nil || !bytes.Equal(p[:4096], want)) {
				t.Errorf("the cluster in front does not read: %v", err)
			}
			if err := img.ReadAt(t.Context(), p, 2<<20); err != nil {
				t.Errorf("what another L1 entry is about does not read: %v", err)
			}
			if got := problems(t, formattest.Bytes(image)); len(got) == 0 || got[0].Off != tt.at || got[0].Leak {
				t.Errorf("check reports %v", got)
			}
		})
	}
}
