package formattest

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/imsfs/imsfs/formats"
)

// maxExtents bounds the walk; images of tests have far fewer.
const maxExtents = 1 << 16

func (r *runner) testExtents(t *testing.T) {
	img := r.open(t)
	info := img.Info()
	all := r.collect(t, img, 0, info.Size)
	var data, pos int64
	for _, e := range all {
		if e.Off != pos || e.Len <= 0 {
			t.Fatalf("extent [%d, +%d) where one must start at %d", e.Off, e.Len, pos)
		}
		pos = e.End()
		if e.State == formats.Data {
			data += e.Len
		} else if !r.c.Disk.zero(e.Off, e.Len) {
			t.Errorf("extent [%d, +%d) is called %v and is not all zeros", e.Off, e.Len, e.State)
		}
		if e.Compressed && (e.State != formats.Data || info.Compression == "") {
			t.Errorf("extent [%d, +%d) in state %v is called compressed, the image %q", e.Off, e.Len, e.State, info.Compression)
		}
	}
	if pos != info.Size {
		t.Errorf("the extents end at %d of %d", pos, info.Size)
	}
	if data != info.Allocated && info.Allocated != formats.Unknown {
		t.Errorf("the data extents hold %d bytes, Info.Allocated is %d", data, info.Allocated)
	}
	r.testSubranges(t, img, all)
	if r.c.Maximal {
		r.testMaximal(t, img, all)
	}
}

func (r *runner) collect(t *testing.T, img formats.Image, off, n int64) []formats.Extent {
	t.Helper()
	var all []formats.Extent
	for e, err := range formats.Extents(t.Context(), img, off, n) {
		if err != nil {
			t.Fatalf("extents of [%d, +%d): %v", off, n, err)
		}
		if all = append(all, e); len(all) > maxExtents {
			t.Fatalf("more than %d extents", maxExtents)
		}
	}
	return all
}

// testSubranges wants the extents of any range to be those of the disk, cut to the range.
func (r *runner) testSubranges(t *testing.T, img formats.Image, all []formats.Extent) {
	t.Helper()
	var edges []int64
	for _, e := range all {
		edges = append(edges, e.Off, e.End())
	}
	rnd := rand.New(rand.NewPCG(11, 13))
	for range 200 {
		off, n := r.pick(rnd, edges, r.c.Disk.Bytes)
		if rnd.IntN(4) == 0 {
			n = 1 + rnd.Int64N(r.c.Disk.Bytes-off)
		}
		if got, want := r.collect(t, img, off, n), cut(all, off, n); !slices.Equal(got, want) {
			t.Fatalf("extents of [%d, +%d) = %v, want %v", off, n, got, want)
		}
	}
}

// testMaximal asks for single extents and wants each to go as far as its state does.
func (r *runner) testMaximal(t *testing.T, img formats.Image, all []formats.Extent) {
	t.Helper()
	for _, e := range all {
		for _, off := range []int64{e.Off, e.Off + e.Len/2, e.End() - 1} {
			got, err := img.Extent(t.Context(), off, r.c.Disk.Bytes-off)
			want := formats.Extent{Off: off, Len: e.End() - off, State: e.State, Compressed: e.Compressed}
			if err != nil || got != want {
				t.Fatalf("Extent(off=%d) = %v, %v, want %v", off, got, err, want)
			}
		}
	}
}

// cut gives the part of the extents that lies in [off, off+n).
func cut(all []formats.Extent, off, n int64) []formats.Extent {
	var in []formats.Extent
	for _, e := range all {
		from, to := max(e.Off, off), min(e.End(), off+n)
		if from < to {
			in = append(in, formats.Extent{Off: from, Len: to - from, State: e.State, Compressed: e.Compressed})
		}
	}
	return in
}
