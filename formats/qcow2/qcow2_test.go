package qcow2

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// variants are images of all kinds of clusters.
func variants(t testing.TB) map[string]*builder {
	small := build(t, 3, 9, 0, 30*512)
	small.data(0, pattern(0, 512))
	small.data(1, pattern(1, 512))
	small.entry(2, flagZero, 0)
	small.entry(3, uint64(small.add(pattern(9, 512)))|flagZero|flagCopied, 0) // zeros, whatever is there
	small.compressed(7, pattern(7, 512))
	small.compressed(8, pattern(8, 512))
	small.data(29, pattern(29, 512))

	old := build(t, 2, 12, 0, 10*4096+512)
	old.data(10, pattern(10, 4096))
	old.data(4, pattern(4, 4096)) // in the file in another order
	old.data(3, pattern(3, 4096))
	old.compressed(5, pattern(5, 4096))
	old.compressed(6, make([]byte, 4096))
	old.disk.Parts = []formattest.Part{old.disk.Parts[2], old.disk.Parts[1], old.disk.Parts[3], old.disk.Parts[0]}

	zstd := build(t, 3, 14, incompatCompression, 20<<14)
	for ci := range int64(4) {
		zstd.compressed(2+ci, pattern(ci, 1<<14))
	}

	sub := build(t, 3, 14, incompatExtendedL2, 8<<14)
	off := sub.add(pattern(1, 1<<14))
	sub.entry(0, uint64(off)|flagCopied, 1<<3|1<<4|1<<31|1<<(32+5)|1<<(32+6))
	sub.holds(3*512, pattern(1, 1<<14)[3*512:5*512])
	sub.holds(31*512, pattern(1, 1<<14)[31*512:])
	sub.data(1, pattern(2, 1<<14))
	sub.entry(2, 0, (1<<32-1)<<32)
	sub.entry(3, 0, 1<<32)
	sub.compressed(5, pattern(5, 1<<14))
	return map[string]*builder{"512 bytes": small, "version 2": old, "zstd": zstd, "subclusters": sub}
}

func TestConformance(t *testing.T) {
	var cases []formattest.Case
	for name, b := range variants(t) {
		cases = append(cases, formattest.Case{Name: name, Image: b.bytes(), Disk: b.disk})
	}
	formattest.Run(t, newDriver(), cases)
}

func TestBuiltImagesAreQEMUsToo(t *testing.T) {
	for name, b := range variants(t) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk.qcow2")
			if err := os.WriteFile(path, b.bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			sameAsQEMU(t, path)
			sameCheckAsQEMU(t, b.bytes())
		})
	}
}

func TestExtentsOfSubclusters(t *testing.T) {
	img := formattest.Open(t, newDriver(), variants(t)["subclusters"].bytes(), formats.OpenOptions{})
	var got []formats.Extent
	for e, err := range formats.Extents(t.Context(), img, 0, 4<<14) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	const u, z, d = formats.Unallocated, formats.Zero, formats.Data
	want := []formats.Extent{
		{Off: 0, Len: 1536, State: u}, {Off: 1536, Len: 1024, State: d}, {Off: 2560, Len: 1024, State: z}, {Off: 3584, Len: 12288, State: u},
		{Off: 15872, Len: 512 + 1<<14, State: d}, {Off: 32768, Len: 1<<14 + 512, State: z}, {Off: 49664, Len: 1<<14 - 512, State: u},
	}
	if len(got) != len(want) {
		t.Fatalf("extents %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("extent %v, want %v", got[i], want[i])
		}
	}
}
