package test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Offsets in a ZVHD2 file of the parts that are damaged here: docs/formats/zvhd2.md.
const (
	zvhd2Unit     = 4096
	zvhd2Block    = 2 * mib
	footerSize    = 512
	footerSum     = 64
	indexEntry    = 16
	indexLBA      = 96
	bitmapLBA     = 104
	nonZeroBlkNum = 136
)

// victim is a ZVHD2 file that a test damages.
type victim struct {
	path string
	b    []byte
}

func (v *victim) footer() int { return len(v.b) - zvhd2Unit }

func (v *victim) table(field int) int { return int(binary.LittleEndian.Uint64(v.b[v.footer()+field:])) }

// chunk returns the offset of the n-th stored chunk, and the block that it holds.
func (v *victim) chunk(n int) (off, block int) {
	entry := v.b[v.table(indexLBA)+n*indexEntry:]
	return int(binary.LittleEndian.Uint64(entry)), int(binary.LittleEndian.Uint32(entry[8:]))
}

// seal corrects the final footer's checksum, so that a wrong field must be found by its value.
func (v *victim) seal() {
	f := v.b[v.footer() : v.footer()+footerSize]
	clear(f[footerSum : footerSum+4])
	sum := uint32(0)
	for _, c := range f {
		sum += uint32(c)
	}
	binary.LittleEndian.PutUint32(f[footerSum:], ^sum)
}

// damages are kinds of damage. Each returns the offset that the error must name (0: none) and words
// of it.
var damages = []struct {
	name string
	do   func(v *victim) (at int, words string)
}{
	{"cookie", func(v *victim) (int, string) { v.b[v.footer()] ^= 1; return v.footer(), "cookie" }},
	{"a bit of the footer", func(v *victim) (int, string) { v.b[v.footer()+300] ^= 4; return v.footer(), "checksum" }},
	{"block_size", setField(88, 4, 12345, "block_size is 12345")},
	{"original_size", setField(40, 8, 1<<63-512, "original_size")},
	{"a disk of 16 EiB", setField(40, 8, ^uint64(511), "original_size")},
	{"current_size", setField(48, 8, 1, "current_size")},
	{"max_blk_num", setField(92, 4, 1<<31, "max_blk_num")},
	{"index_lba", setField(indexLBA, 8, 1<<60, "index_lba")},
	{"index_lba that overflows", setField(indexLBA, 8, ^uint64(4095), "index_lba")},
	{"bitmap_lba", setField(bitmapLBA, 8, 0, "bitmap_lba")},
	{"index_size", setField(112, 4, 1<<31, "index_size")},
	{"non_zero_blk_num", setField(nonZeroBlkNum, 4, 1<<30, "non_zero_blk_num")},
	{"index entry outside", func(v *victim) (int, string) {
		at := v.table(indexLBA) + indexEntry
		binary.LittleEndian.PutUint64(v.b[at:], 1<<50)
		return at, "index entry"
	}},
	{"index entry of another block", func(v *victim) (int, string) {
		at := v.table(indexLBA) + indexEntry
		binary.LittleEndian.PutUint32(v.b[at+8:], 77)
		return at, "block number is 77"
	}},
	{"chunks that overlap", func(v *victim) (int, string) {
		first, _ := v.chunk(0)
		at := v.table(indexLBA) + indexEntry
		binary.LittleEndian.PutUint64(v.b[at:], uint64(first))
		return first, "overlaps"
	}},
	{"bits of the bitmap", func(v *victim) (int, string) {
		at := v.table(bitmapLBA)
		v.b[at] ^= 0xff
		return at, "bitmap"
	}},
	{"truncated by a unit", func(v *victim) (int, string) { v.b = v.b[:v.footer()]; return v.footer(), "truncated" }},
	{"truncated in the middle", func(v *victim) (int, string) { v.b = v.b[:len(v.b)/2]; return v.footer(), "truncated" }},
	{"truncated to the header", func(v *victim) (int, string) { v.b = v.b[:zvhd2Unit]; return 0, "0 whole chunks" }},
}

func setField(off, width int, value uint64, words string) func(v *victim) (int, string) {
	return func(v *victim) (int, string) {
		at := v.footer() + off
		copy(v.b[at:at+width], binary.LittleEndian.AppendUint64(nil, value))
		v.seal()
		return at, words
	}
}

// TestDamagedImageIsRefused: the error names the file, the field and the offset.
func TestDamagedImageIsRefused(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), 16*mib, 17)
	good := m.as(t, "zvhd2")
	d.register(t, "good", good)
	for _, damage := range damages {
		t.Run(damage.name, func(t *testing.T) {
			v := victim{d.file("damaged"), []byte(read(t, good))}
			at, words := damage.do(&v)
			must(t, os.WriteFile(v.path, v.b, 0o600))
			if at != 0 {
				words += fmt.Sprintf("|at %#x:", at)
			}
			err := d.command("", "register damaged "+v.path)
			if !errors.Is(err, unix.EINVAL) {
				t.Errorf("the write's error is %v, want EINVAL", err)
			}
			checkRefusal(t, d.place, append(strings.Split(words, "|"), v.path, "zvhd2"))
			imsfs(t, "info", v.path).refused(t, append(strings.Split(words, "|"), v.path)...)
			imsfs(t, "check", v.path).failed(t, 2)
		})
	}
	m.same(t, d.disk("good"))
}

// TestDamagedChunk: damage of a chunk fails reads of its block, and of no other.
func TestDamagedChunk(t *testing.T) {
	for name, where := range map[string]int{"cookie": 0, "compressed size": 13, "block number": 16, "frame": 48} {
		t.Run(name, func(t *testing.T) {
			d := serve(t)
			m := makeModel(t, d.file("disk.raw"), 12*mib, 18)
			v := victim{path: m.as(t, "zvhd2")}
			v.b = []byte(read(t, v.path))
			at, block := v.chunk(2)
			v.b[at+where] ^= 0xff
			must(t, os.WriteFile(v.path, v.b, 0o600))
			d.register(t, "disk", v.path)
			d.log.expect(fmt.Sprintf("chunk of block %d: ", block))
			checkOnlyBlockFails(t, d.disk("disk"), m, int64(block))
			checkOnlyBlockFails(t, d.disk("disk"), m, int64(block)) // the error was not cached as bytes
			r := imsfs(t, "check", v.path)
			r.failed(t, 2)
			wantWords(t, "check", r.stdout, fmt.Sprintf("block %d", block), fmt.Sprintf("%#x", at))
		})
	}
}

func checkOnlyBlockFails(t *testing.T, disk string, m model, block int64) {
	t.Helper()
	f, err := os.Open(disk)
	must(t, err)
	defer f.Close()
	got, want := make([]byte, 256*kib), make([]byte, 256*kib)
	for off := int64(0); off < m.size; off += int64(len(got)) {
		_, err := f.ReadAt(got, off)
		if off/zvhd2Block == block {
			if !errors.Is(err, unix.EIO) {
				t.Errorf("read at %#x, in the damaged block: %v, want EIO", off, err)
			}
			continue
		}
		if m.want(t, want, off); err != nil || string(got) != string(want) {
			t.Errorf("read at %#x, beside the damaged block: wrong bytes or %v", off, err)
		}
	}
}
