package formattest

import (
	"encoding/json"
	"testing"

	"github.com/imsfs/imsfs/formats"
)

// Mapped is a run of a disk in one state, as qemu-img map tells it.
type Mapped struct {
	Start, Length       int64
	Data, Zero, Present bool
}

// Map is an image's extents in the same words.
func Map(t testing.TB, img formats.Image) []Mapped {
	t.Helper()
	var all []Mapped
	for e, err := range formats.Extents(t.Context(), img, 0, img.Info().Size) {
		if err != nil {
			t.Fatal(err)
		}
		data := e.State == formats.Data
		all = joined(all, Mapped{e.Off, e.Len, data, !data, e.State != formats.Unallocated})
	}
	return all
}

// QemuMap is qemu-img's map of the image at path. Zeros that it finds in holes of the file are data
// here, because a driver without Sparse cannot know them.
func QemuMap(t testing.TB, path string) []Mapped {
	t.Helper()
	var all []Mapped
	for _, m := range parseMap(t, Qemu(t, "qemu-img", "map", "--output=json", path)) {
		m.Zero = !m.Data
		all = joined(all, m)
	}
	return all
}

func parseMap(t testing.TB, text []byte) (all []Mapped) {
	t.Helper()
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func joined(list []Mapped, m Mapped) []Mapped {
	if n := len(list); n > 0 && list[n-1].Zero == m.Zero && list[n-1].Data == m.Data && list[n-1].Present == m.Present {
		list[n-1].Length += m.Length
		return list
	}
	return append(list, m)
}
