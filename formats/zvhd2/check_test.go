package zvhd2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// checkImage collects what Check finds.
func checkImage(t *testing.T, image []byte) []formats.Problem {
	t.Helper()
	return formattest.Problems(t, newDriver(), formattest.Bytes(image), formats.OpenOptions{})
}

// expectProblems wants Check to find these problems, each by words of its text, in order, and no others. A word
// "leak" stands for the mark.
func expectProblems(t *testing.T, image []byte, want ...[]string) {
	t.Helper()
	formattest.WantProblems(t, checkImage(t, image), want...)
}

func TestCheckFindsNothingWrongWithTheVendorsFiles(t *testing.T) {
	for _, g := range goldenFiles {
		t.Run(g.name, func(t *testing.T) { expectProblems(t, readFile(t, g.name+".zvhd2")) })
	}
}

func TestCheckFindsDamage(t *testing.T) {
	le := binary.LittleEndian
	whole := []string{"blocks 0 to 2 stand", "blocks 4 to 5 stand", "blocks 7 to 7 stand"}
	stand := func(more ...[]string) (want [][]string) {
		for _, w := range whole {
			want = append(want, []string{w})
		}
		return append(want, more...)
	}
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		want   [][]string
	}{
		{"header lost", func(b []byte) []byte { clear(b[:unit]); return b }, [][]string{{"header: cookie"}}},
		{"header of another file", func(b []byte) []byte { poke(b, 0, "original_size", 8<<20); poke(b, 0, "uuid", 1); return b },
			[][]string{{"header: original_size"}, {"header: uuid"}}},
		{"copy of the header", func(b []byte) []byte { le.PutUint32(b[434176+136:], 5); return b }, [][]string{{"copy of the header: non_zero_blk_num"}}},
		{"two payloads and a cookie", func(b []byte) []byte { b[4096+48] ^= 1; b[315392] ^= 1; b[430080+48] ^= 1; return b },
			[][]string{{"block 0", "zstd"}, {"block 1", "cookie"}, {"block 7", "zstd"}}},
		{"index entry", func(b []byte) []byte { le.PutUint64(b[tinyIndex:], 1<<40); return b },
			[][]string{{"311296 bytes belong to nothing", "leak"}, {"index entry 0", "outside"}}},
		{"two blocks on one chunk", func(b []byte) []byte { le.PutUint64(b[tinyIndex+16:], 4096); return b },
			[][]string{{"block 1 overlaps"}, {"53248 bytes belong to nothing", "leak"}}},
		{"bitmap", func(b []byte) []byte { b[tinyBitmap] |= 8; return b }, stand([]string{"7 bits"})},
		{"footer field", func(b []byte) []byte { poke(b, int64(len(b)-unit), "type", 3); return b }, stand([]string{"type is 3"})},
		{"footer checksum", func(b []byte) []byte { b[len(b)-unit+64]++; return b }, stand([]string{"checksum", "6 whole chunks"})},
		{"cut short", func(b []byte) []byte { return b[:425984+100] },
			[][]string{{"blocks 0 to 2 stand"}, {"blocks 4 to 4 stand"}, {"cookie", "truncated", "4 whole chunks"}}},
		{"cut short and damaged", func(b []byte) []byte { b[315392+48] ^= 1; return b[:425984] },
			[][]string{{"blocks 0 to 0 stand"}, {"block 1", "zstd"}, {"blocks 2 to 2 stand"}, {"blocks 4 to 4 stand"}, {"truncated", "4 whole chunks"}}},
		{"both footers", func(b []byte) []byte { b[0], b[len(b)-unit] = 0, 0; return b }, [][]string{{"header: cookie"}, {"final footer: cookie"}}},
	} {
		t.Run(c.name, func(t *testing.T) { expectProblems(t, c.change(readFile(t, "tiny.zvhd2")), c.want...) })
	}
}

// TestCheckFindsLeaks takes a chunk out of the tables and leaves it in the file.
func TestCheckFindsLeaks(t *testing.T) {
	b := readFile(t, "tiny.zvhd2")
	copy(b[tinyIndex+3*entrySize:], b[tinyIndex+4*entrySize:tinyIndex+6*entrySize])
	b[tinyBitmap] &^= 1 << 4
	poke(b, int64(len(b)-unit), "non_zero_blk_num", 5)
	le := binary.LittleEndian
	le.PutUint32(b[434176+136:], 5)
	expectProblems(t, b, []string{"4096 bytes belong to nothing", "leak"})
}

func TestCheckReturnsWhatKeptItFromLooking(t *testing.T) {
	image := formattest.Bytes(readFile(t, "tiny.zvhd2"))
	broken := errors.New("broken cable")
	count := &formattest.Counting{Source: image}
	report := func(p formats.Problem) { t.Errorf("a failing source is called damage: %v", p) }
	if err := newDriver().Check(t.Context(), count, formats.OpenOptions{}, report); err != nil {
		t.Fatal(err)
	}
	for at := int64(1); at <= count.Calls(); at++ {
		src := &formattest.Faulty{Source: image, At: at, Err: broken}
		if err := newDriver().Check(t.Context(), src, formats.OpenOptions{}, report); !errors.Is(err, broken) {
			t.Errorf("read %d of %d failed and Check = %v", at, count.Calls(), err)
		}
	}
	old := bytes.Clone(image)
	poke(old, int64(len(old)-unit), "zvhd2_version", 2)
	if err := newDriver().Check(t.Context(), formattest.Bytes(old), formats.OpenOptions{}, report); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Check of an unknown version = %v", err)
	}
}

// TestCheckOfManyProblemsIsBounded damages every entry of a full index segment.
func TestCheckOfManyProblemsIsBounded(t *testing.T) {
	e := newEncoder(t, entriesPerSeg*defaultBlockSize, formats.CreateOptions{})
	for i := range int64(entriesPerSeg) {
		if _, err := e.Place(i, unit); err != nil {
			t.Fatal(err)
		}
	}
	var dst formattest.Memory
	if err := e.Finish(t.Context(), &dst); err != nil {
		t.Fatal(err)
	}
	index := int64(finalFooter(dst.B).indexLBA)
	for i := range int64(entriesPerSeg) {
		binary.LittleEndian.PutUint32(dst.B[index+i*entrySize+8:], 1<<32-1)
	}
	found := checkImage(t, dst.B)
	last := found[len(found)-1]
	if len(found) > formats.MaxFindings+10 || !strings.Contains(last.Text, "more problems") {
		t.Errorf("%d problems, the last %v", len(found), last)
	}
}
