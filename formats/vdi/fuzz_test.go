package vdi

import (
	"bytes"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// FuzzOpen opens hostile files, walks their extents, reads in each and checks them. Nothing may panic, errors must be of
// a kind that callers know, and what cannot be read must be found by check.
func FuzzOpen(f *testing.F) {
	for _, b := range []build{
		{size: 5 * 512, blockSize: 512, entries: []uint32{1, un, 0, ze, 2}},
		{size: 700, blockSize: 512, imageType: typeFixed, entries: []uint32{0, 1}},
		{size: 512, blockSize: 1024, entries: []uint32{un, 0}},
		{size: 1 << 40, entries: []uint32{un, un}},
		{size: 4096, blockSize: 4096, entries: []uint32{0xffff_fffd}, fields: map[int64]uint32{0x158: 0xffff_fe00}},
	} {
		image := b.image()
		for range b.entries {
			image = append(image, formattest.Pattern(int64(len(image)), b.blockSize)...)
		}
		f.Add(image, uint32(0))
		f.Add(image[:len(image)/2], uint32(1<<20))
	}
	f.Fuzz(func(t *testing.T, data []byte, more uint32) {
		if more%2 == 0 && len(data) >= headerEnd { // or the fuzzer would hardly get past these
			data = bytes.Clone(data)
			copy(data[atSignature:], []byte{0x7f, 0x10, 0xda, 0xbe, 1, 0, 1, 0})
			copy(data[atSectorSize:], []byte{0, 2, 0, 0})
			clear(data[atBlockExtra:atBlocksInImage])
			clear(data[atUUIDLink:headerEnd])
		}
		// A file may be long without its bytes being there; not so long that checking it takes all the time.
		src := formattest.Sparse{Bytes: int64(len(data)) + int64(more%(8<<20)), Parts: []formattest.Part{{Data: data}}}
		formattest.Hostile(t, Driver{}, src, formats.OpenOptions{})
	})
}
