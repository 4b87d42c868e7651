package iso

import (
	"errors"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// FuzzOpen opens discs with hostile descriptors. The system area, the descriptors and what is from sector 256 on are given.
func FuzzOpen(f *testing.F) {
	for _, b := range [][]byte{disc(primary("A"), boot, end, bea, nsr, tea), disc(bea, nsr3, tea), withUDF([]byte("\x08A")), withUDF([]byte("\x10ab"))} {
		f.Add(b[:64], b[16*sector:22*sector], b[min(256*sector, len(b)):min(263*sector, len(b))])
	}
	f.Fuzz(func(t *testing.T, system, descriptors, sequence []byte) {
		src := formattest.Sparse{Bytes: 256*sector + int64(len(sequence)), Parts: []formattest.Part{
			{Data: system}, {Off: 16 * sector, Data: descriptors}, {Off: 256 * sector, Data: sequence},
		}}
		claimed, err := Driver{}.Probe(t.Context(), src)
		if err != nil {
			t.Fatal(err)
		}
		img, err := formats.Set{Drivers: []formats.Driver{Driver{}}}.Open(t.Context(), src, name, formats.OpenOptions{})
		if claimed != (err == nil) || err != nil && !errors.Is(err, formats.ErrCorrupt) {
			t.Errorf("claimed: %v, and opened with %v", claimed, err)
		}
		if err == nil {
			if err := img.ReadAt(t.Context(), make([]byte, 512), img.Info().Size-512); err != nil {
				t.Error(err)
			}
		}
	})
}
