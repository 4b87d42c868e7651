package convert_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/convert"
)

func TestCompareStates(t *testing.T) {
	a := fullImage(8 * mib)
	for _, c := range []struct {
		name   string
		change func(b *fakeImage)
		want   int64
	}{
		{"the same", func(*fakeImage) {}, -1},
		{"other bytes", func(b *fakeImage) { b.bytes[5]++ }, -1},
		{"longer", func(b *fakeImage) { b.info.Size += grain; b.where = append(b.where, formats.Zero) }, -1},
		{"a zero", func(b *fakeImage) { b.where[7] = formats.Zero }, 7 * grain},
		{"nothing", func(b *fakeImage) { b.where[2047], b.where[9] = formats.Unallocated, formats.Zero }, 9 * grain},
		{"at the end", func(b *fakeImage) { b.where[2047] = formats.Unallocated }, 2047 * grain},
	} {
		b := &fakeImage{info: a.info, bytes: slices.Clone(a.bytes), where: slices.Clone(a.where)}
		c.change(b)
		for _, pair := range [][2]formats.Image{{a, b}, {b, a}} {
			if got, err := convert.CompareStates(t.Context(), pair[0], pair[1]); got != c.want || err != nil {
				t.Errorf("%s: CompareStates = %d, %v, want %d", c.name, got, err, c.want)
			}
		}
		if b.reads.Load() > 0 {
			t.Errorf("%s: bytes were read", c.name)
		}
	}
	if _, err := convert.CompareStates(t.Context(), a, brokenExtents{fullImage(8 * mib)}); !errors.Is(err, errPlanned) {
		t.Errorf("error %v, want the planned one", err)
	}
}

// stacked is an image of several layers.
type stacked struct {
	*fakeImage
	layers []formats.Image
}

func (s stacked) Layers() []formats.Image { return s.layers }

// The units that a chain is read in hold whole compressed clusters of any layer, so that none is decoded twice.
func TestUnitsOfAChain(t *testing.T) {
	base := fullImage(16 * mib)
	base.info.ClusterSize, base.info.Compression = 8*mib, "zstd"
	top := fullImage(16 * mib)
	enc, target := &fakeEncoder{cluster: 64 << 10}, &fakeTarget{}
	if err := convert.Run(t.Context(), stacked{top, []formats.Image{top, base}}, enc, target, convert.Config{}); err != nil {
		t.Fatal(err)
	}
	if n := top.reads.Load(); n != 2 {
		t.Errorf("%d reads of 16 MiB, want 2 of 8 MiB", n)
	}
}
