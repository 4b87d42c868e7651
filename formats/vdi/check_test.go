package vdi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats/formattest"
)

func TestCheck(t *testing.T) {
	const size, blockSize = 6 * 4096, 4096
	tests := []struct {
		name string
		b    build
		tail int // bytes more than the last block has, or less
		want []string
	}{
		{"sound", build{entries: []uint32{0, un, 2, 1, ze, 3}}, 0, nil},
		{"out of blocks_in_image", build{entries: []uint32{0, 6, un, un, un, un}}, 0,
			[]string{"damage 0x204: block map entry of block 1 is 0x6, must be below", "leak 0x1400: 20480", "leak 0x6400: 4096"}},
		{"out of the file", build{entries: []uint32{0, 5, un, un, un, un}}, -5 * blockSize, []string{"damage 0x204: block map entry of block 1 is 0x5: its block at 0x5400"}},
		{"twice", build{entries: []uint32{0, 1, un, 0, 1, un}}, 0, []string{"damage 0x20c: block map entry of block 3 is 0x0, which", "damage 0x210: block map entry of block 4 is 0x1"}},
		{"miscounted", build{entries: []uint32{0, 1, un, un, un, un}, fields: map[int64]uint32{0x184: 3}}, 0, []string{"damage 0x184: blocks_allocated is 3, and the block map has 2"}},
		{"leaked", build{entries: []uint32{1, un, un, 4, un, un}}, 0, []string{"leak 0x400: 4096", "leak 0x2400: 8192"}},
		{"a tail", build{entries: []uint32{0, 1, 2, 3, 4, 5}}, 100, []string{"leak 0x6400: 100"}},
		{"a tail of less than a block", build{entries: []uint32{0, un, un, un, un, un}}, 100, []string{"leak 0x1400: 100"}},
		{"two rules", build{entries: []uint32{0, un, un, un, un, un}, fields: map[int64]uint32{0x174: 1 << 31, 0x48: 0}}, 0, []string{"damage 0x48: header_size", "damage 0x170: disk_size", "damage 0x180: blocks_in_image"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.b
			b.size, b.blockSize = size, blockSize
			image, _ := filled(b)
			image = append(image, make([]byte, max(0, tt.tail))...)[:len(image)+tt.tail]
			var got []string
			for _, p := range problems(t, formattest.Bytes(image)) {
				kind := "damage"
				if p.Leak {
					kind = "leak"
				}
				got = append(got, fmt.Sprintf("%s %#x: %s", kind, p.Off, p.Text))
			}
			ok := len(got) == len(tt.want)
			for i := 0; ok && i < len(got); i++ {
				ok = strings.HasPrefix(got[i], tt.want[i])
			}
			if !ok {
				t.Errorf("reported\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}
