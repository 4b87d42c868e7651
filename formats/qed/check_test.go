package qed

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// TestCheck: in the sound file the L2 table is at 0x2000, clusters 1 to 3 at 0x3000 to 0x5000.
func TestCheck(t *testing.T) {
	tests := []struct {
		name string
		put  map[int64]uint64
		tail int
		want []string
	}{
		{"sound", nil, 0, nil},
		{"data twice", map[int64]uint64{0x2008: 0x4000}, 0, []string{"damage 0x2010: L2 entry 2 is 0x4000, where", "leak 0x3000: 4096"}},
		{"data in the L1 table", map[int64]uint64{0x2008: 0x1000}, 0, []string{"damage 0x2008: L2 entry 1 is 0x1000, where", "leak 0x3000: 4096"}},
		{"an L2 table twice", map[int64]uint64{0x1008: 0x2000}, 0, []string{"damage 0x1008: L1 entry 1 is 0x2000, where"}},
		{"an L2 table in the L1 table", map[int64]uint64{0x1ff8: 0x1000}, 0, []string{"damage 0x1ff8: L1 entry 511 is 0x1000, where"}},
		{"data out of the file", map[int64]uint64{0x2018: 0x6000}, 0, []string{"damage 0x2018: L2 entry 3 is 0x6000: its 4096", "leak 0x5000: 4096"}},
		{"an entry after the disk's end", map[int64]uint64{0x2ff8: 0x7000}, 0, []string{"damage 0x2ff8: L2 entry 511"}},
		{"the L2 table lost", map[int64]uint64{0x1000: 0}, 0, []string{"leak 0x2000: 16384"}},
		{"clusters behind", nil, 8192, []string{"leak 0x6000: 8192"}},
		{"less than a cluster behind", nil, 4097, []string{"leak 0x6000: 4096", "leak 0x7000: 1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			image, _ := build{size: 1 << 20, data: []int64{1, 2, 3}, zero: []int64{8}, put: tt.put}.image()
			image = append(image, make([]byte, tt.tail)...)
			var got []string
			for _, p := range problems(t, formattest.Bytes(image)) {
				kind := "damage"
				if p.Leak {
					kind = "leak"
				}
				got = append(got, fmt.Sprintf("%s %#x: %s", kind, p.Off, p.Text))
			}
			if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
				t.Errorf("reported\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// TestCheckTakesNoMemoryForWhatIsNotThere: a file of holes can have any length.
func TestCheckTakesNoMemoryForWhatIsNotThere(t *testing.T) {
	image, _ := build{size: 1 << 20, data: []int64{1}}.image()
	src := formattest.Sparse{Bytes: 1 << 59, Parts: []formattest.Part{{Data: image}}}
	err := Driver{}.Check(t.Context(), src, formats.OpenOptions{}, func(formats.Problem) {})
	formattest.WantError(t, err, errors.ErrUnsupported, "clusters")
}
