package vhd

import (
	"slices"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// The holes of a fixed disk's file are holes of the disk.
func TestFixedKnowsHoles(t *testing.T) {
	f := fixedDisk(0)
	f.size = 1 << 40
	file := formattest.Disk{Bytes: 1<<40 + 512, Parts: []formattest.Part{{Off: 1 << 30, Data: formattest.Pattern(1<<30, 8192)}, {Off: 1 << 40, Data: f.build()}}}
	img := openSource(t, sparse{formattest.Sparse(file), file})
	var got []formats.Extent
	for e, err := range formats.Extents(t.Context(), img, 0, img.Info().Size) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	want := []formats.Extent{
		{Off: 0, Len: 1 << 30, State: formats.Zero}, {Off: 1 << 30, Len: 8192, State: formats.Data},
		{Off: 1<<30 + 8192, Len: 1<<40 - 1<<30 - 8192, State: formats.Zero},
	}
	if !slices.Equal(got, want) {
		t.Errorf("extents = %v, want %v", got, want)
	}
}
