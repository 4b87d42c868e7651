package formattest

import (
	"context"
	"testing"

	"github.com/imsfs/imsfs/formats"
)

// holeUnit is the size of a block of the file system that Holey stands for.
const holeUnit = 4096

// Holey is a source whose whole blocks of zeros are holes.
type Holey struct{ Bytes }

var _ formats.Sparse = Holey{}

func (h Holey) hole(block int64) bool {
	return formats.IsZero(h.Bytes[block*holeUnit : min((block+1)*holeUnit, h.Size())])
}

// Hole implements formats.Sparse.
func (h Holey) Hole(ctx context.Context, off, n int64) (bool, int64, error) {
	block := off / holeUnit
	hole := h.hole(block)
	for block++; block*holeUnit < off+n && h.hole(block) == hole; block++ {
	}
	return hole, min(n, block*holeUnit-off), ctx.Err()
}

// Allocated implements formats.Sparse.
func (h Holey) Allocated() int64 {
	var n int64
	for block := int64(0); block*holeUnit < h.Size(); block++ {
		if !h.hole(block) {
			n += min(holeUnit, h.Size()-block*holeUnit)
		}
	}
	return n
}

// testHoles reads the image from a file with holes: its extents tile the disk, those without data
// are zeros, and every byte is the model's.
func (r *runner) testHoles(t *testing.T) {
	img, err := r.set.Open(t.Context(), Holey{r.c.Image}, r.name, r.c.Open)
	if err != nil {
		t.Fatal(err)
	}
	var pos int64
	for _, e := range r.collect(t, img, 0, img.Info().Size) {
		if e.Off != pos || e.Len <= 0 {
			t.Fatalf("extent [%d, +%d) where one must start at %d", e.Off, e.Len, pos)
		}
		pos = e.End()
		if e.State != formats.Data && !r.c.Disk.zero(e.Off, e.Len) {
			t.Errorf("extent [%d, +%d) is called %v and is not all zeros", e.Off, e.Len, e.State)
		}
	}
	for _, part := range r.c.Disk.Parts {
		for _, off := range []int64{part.Off, part.End() - 1} {
			r.checkRead(t, img, off, min(maxRead, r.c.Disk.Bytes-off))
		}
	}
}
