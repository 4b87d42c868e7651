package vdi

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// TestHostileHeaders has every rule broken, in an otherwise good file.
func TestHostileHeaders(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine computes, so there is nothing for the race detector: tested without it, not -short")
	}
	good := build{size: 3 << 20, entries: []uint32{1, un, 0}}
	tests := []struct {
		name   string
		fields map[int64]uint32
		kind   error
		words  []string
	}{
		{"signature", map[int64]uint32{0x40: 0xbeda107e}, formats.ErrCorrupt, []string{"signature", "0x40"}},
		{"version 0.1", map[int64]uint32{0x44: 1}, errors.ErrUnsupported, []string{"version 0.1"}},
		{"version 1.2", map[int64]uint32{0x44: 0x10002}, errors.ErrUnsupported, []string{"version 1.2"}},
		{"header_size", map[int64]uint32{0x48: 0x17f}, formats.ErrCorrupt, []string{"header_size"}},
		{"header_size over the map", map[int64]uint32{0x48: 0x1b9}, formats.ErrCorrupt, []string{"offset_bmap"}},
		{"header_size huge", map[int64]uint32{0x48: 0xffff_ffff}, formats.ErrCorrupt, []string{"offset_bmap"}},
		{"no type", map[int64]uint32{0x4c: 0}, errors.ErrUnsupported, []string{"image_type 0"}},
		{"undo", map[int64]uint32{0x4c: 3}, errors.ErrUnsupported, []string{"undo"}},
		{"differencing", map[int64]uint32{0x4c: 4, 0x1a8: 0x01020304}, errors.ErrUnsupported, []string{"differencing", "01020304-0000"}},
		{"unknown type", map[int64]uint32{0x4c: 5}, errors.ErrUnsupported, []string{"image_type 5"}},
		{"link", map[int64]uint32{0x1a8: 7}, errors.ErrUnsupported, []string{"uuid_link"}},
		{"parent", map[int64]uint32{0x1c4: 7}, errors.ErrUnsupported, []string{"uuid_parent"}},
		{"map over the header", map[int64]uint32{0x154: 0x1c7}, formats.ErrCorrupt, []string{"offset_bmap"}},
		{"data over the map", map[int64]uint32{0x158: 0x20b}, formats.ErrCorrupt, []string{"offset_data", "0x20c"}},
		{"data at 0", map[int64]uint32{0x158: 0}, formats.ErrCorrupt, []string{"offset_data"}},
		{"sectors of 4096", map[int64]uint32{0x168: 4096}, errors.ErrUnsupported, []string{"sector_size 4096"}},
		{"a huge disk", map[int64]uint32{0x174: 1 << 31}, formats.ErrCorrupt, []string{"disk_size"}},
		{"a huge disk", map[int64]uint32{0x174: 0xffff_ffff}, formats.ErrCorrupt, []string{"disk_size"}},
		{"no block size", map[int64]uint32{0x178: 0}, formats.ErrCorrupt, []string{"block_size"}},
		{"block size 256", map[int64]uint32{0x178: 256}, formats.ErrCorrupt, []string{"block_size"}},
		{"block size 3 MiB", map[int64]uint32{0x178: 3 << 20}, formats.ErrCorrupt, []string{"block_size"}},
		{"block size 512 MiB", map[int64]uint32{0x178: 512 << 20}, formats.ErrCorrupt, []string{"block_size"}},
		{"extra data", map[int64]uint32{0x17c: 512}, errors.ErrUnsupported, []string{"block_extra 512"}},
		{"too few blocks", map[int64]uint32{0x180: 2}, formats.ErrCorrupt, []string{"blocks_in_image", "3145728"}},
		{"no blocks", map[int64]uint32{0x180: 0}, formats.ErrCorrupt, []string{"blocks_in_image"}},
		{"more blocks than qemu takes", map[int64]uint32{0x180: maxBlocks + 1}, errors.ErrUnsupported, []string{"blocks_in_image"}},
		{"a map longer than the file", map[int64]uint32{0x180: maxBlocks, 0x158: 0xffff_fe00}, formats.ErrCorrupt, []string{"offset_bmap", "lies within the file"}},
		{"a map after the file", map[int64]uint32{0x154: 0xffff_0000, 0x158: 0xffff_fe00}, formats.ErrCorrupt, []string{"offset_bmap", "lies within the file"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := good
			b.fields = tt.fields
			image, _ := filled(b)
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
	image, _ := filled(build{size: 1 << 20, entries: []uint32{0}})
	for _, n := range []int{0, 1, 0x40, 0x44, headerEnd - 1, headerEnd, mapAt, mapAt + 3} {
		_, err := Driver{}.Open(t.Context(), formattest.Bytes(image[:n]), formats.OpenOptions{})
		formattest.WantError(t, err, formats.ErrCorrupt)
		if got := problems(t, formattest.Bytes(image[:n])); len(got) == 0 {
			t.Errorf("check of %d bytes finds nothing", n)
		}
	}
}

func TestSnapshotsAreRefused(t *testing.T) {
	image, _ := filled(build{size: 1 << 20, entries: []uint32{0}})
	_, err := Driver{}.Open(t.Context(), formattest.Bytes(image), formats.OpenOptions{Snapshot: "a"})
	formattest.WantError(t, err, errors.ErrUnsupported, "snapshot")
}

// TestHostileEntries: the blocks of a good entry are read, those of a bad one are an error, and no zeros.
func TestHostileEntries(t *testing.T) {
	image, disk := filled(build{size: 4 << 20, entries: []uint32{1, un, 0, 2}})
	for _, entry := range []uint32{3, 4, 0x7fff_ffff, 0xffff_fffd} {
		hostile := slices.Clone(image)
		copy(hostile[mapAt+4:], []byte{byte(entry), byte(entry >> 8), byte(entry >> 16), byte(entry >> 24)})
		img := openSource(t, formattest.Bytes(hostile))
		p := make([]byte, 2<<20)
		err := img.ReadAt(t.Context(), p, 1<<20-512)
		formattest.WantError(t, err, formats.ErrCorrupt, "block map entry of block 1", "0x204")
		if err := img.ReadAt(t.Context(), p[:512], 2<<20); err != nil || !reads(disk, p[:512], 2<<20) {
			t.Errorf("entry %#x: another block does not read: %v", entry, err)
		}
	}
}

// TestMissingTail: what the disk has of its last block may end the file.
func TestMissingTail(t *testing.T) {
	image, disk := filled(build{size: 2<<20 + 512, entries: []uint32{0, 1, 2}})
	end := len(image) - 1<<20 + 512
	img := openSource(t, formattest.Bytes(image[:end]))
	p := make([]byte, 512)
	if err := img.ReadAt(t.Context(), p, 2<<20); err != nil || !reads(disk, p, 2<<20) {
		t.Errorf("the last sector: %v", err)
	}
	if got := problems(t, formattest.Bytes(image[:end])); len(got) > 0 {
		t.Errorf("check reports %v", got)
	}
	img = openSource(t, formattest.Bytes(image[:end-1]))
	formattest.WantError(t, img.ReadAt(t.Context(), p, 2<<20), formats.ErrCorrupt, "block 2")
	if got := problems(t, formattest.Bytes(image[:end-1])); len(got) != 1 || got[0].Leak {
		t.Errorf("check reports %v", got)
	}
}

// reads tells whether p is what the disk has at off.
func reads(disk formattest.Disk, p []byte, off int64) bool {
	want := make([]byte, len(p))
	disk.Fill(want, off)
	return bytes.Equal(p, want)
}
