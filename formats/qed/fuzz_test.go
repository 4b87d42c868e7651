package qed

import (
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// FuzzOpen opens hostile files, walks their extents, reads in each and checks them. Nothing may panic, errors must be of
// a kind that callers know, and what cannot be read must be found by check.
func FuzzOpen(f *testing.F) {
	for _, b := range []build{
		{size: 20*4096 + 512, data: []int64{3, 4, 5, 2, 20, 9}, zero: []int64{0, 6, 10}},
		{size: 1 << 20},
		{size: 9 << 20, data: []int64{511, 512}, backing: "base.img", features: featureNeedCheck | featureBackingNoProbe},
		{size: 9 << 20, data: []int64{1, 2}, put: map[int64]uint64{0x2008: 0x3000, 0x2018: 1 << 40}},
	} {
		image, _ := b.image()
		f.Add(image, uint32(0))
		f.Add(image[:len(image)/2], uint32(1<<20))
	}
	f.Fuzz(func(t *testing.T, data []byte, more uint32) {
		// A file may be long without its bytes being there; not so long that checking it takes all the time.
		src := formattest.Sparse{Bytes: int64(len(data)) + int64(more%(8<<20)), Parts: []formattest.Part{{Data: data}}}
		formattest.Hostile(t, Driver{}, src, formats.OpenOptions{})
	})
}
