package vhdx

import (
	"errors"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// problems runs Check and wants its findings in the file's order.
func problems(t testing.TB, src formats.Source) []formats.Problem {
	t.Helper()
	return formattest.Problems(t, Driver{}, src, formats.OpenOptions{})
}

func TestCheckFindsNothingWrong(t *testing.T) {
	for _, d := range []disk{small, child, wide} {
		formattest.WantProblems(t, problems(t, formattest.Bytes(d.build().b)))
	}
}

func TestCheckFindsDamage(t *testing.T) {
	copies := map[bool]func() *file{false: small.build().copies(), true: child.build().copies()}
	for _, c := range []struct {
		name   string
		disk   disk
		change func(f *file)
		want   [][]string
	}{
		{"a header", small, func(f *file) { f.b[headerAt[0]+500]++ }, [][]string{{"header: checksum"}}},
		{"the other header", small, func(f *file) { f.b[headerAt[1]]++ }, [][]string{{"header: signature"}}},
		{"a region table", small, func(f *file) { f.b[tableAt[1]+500]++ }, [][]string{{"region table: checksum"}}},
		{"two region tables", small, func(f *file) { f.b[tableAt[1]+500]++; f.seal() }, [][]string{{"it differs from the one at 0x30000"}}},
		{"a log after the file", small, headerField(72, 8, 1<<30), [][]string{{"log: [0x40000000"}}},
		{"two blocks in one place", small, func(f *file) { f.entry(2, uint64(f.at[0])|6) },
			[][]string{{"payload block 2", "overlaps another block"}, {"1048576 bytes belong to nothing", "leak"}}},
		{"a block in parts of two", small, func(f *file) { f.b[builtMetadata+tableSize+2] = 0x20 },
			[][]string{{"payload block 2", "overlaps another block"}}},
		{"space between blocks", small, func(f *file) { f.entry(2, 0) }, [][]string{{"1048576 bytes belong to nothing", "leak"}}},
		{"space at the end", small, func(f *file) { f.b = append(f.b, make([]byte, 2*mib+5)...) }, [][]string{{"2097157 bytes belong to nothing", "leak"}}},
		{"space of which no block has any, to no whole MiB", small, func(f *file) {
			for i := range f.g.entries() {
				f.entry(i, zero)
			}
			f.b = append(f.b, make([]byte, 512)...)
		}, nil},
		{"space before blocks", small, func(f *file) { f.entry(0, 0) }, nil},
		{"an unmapped block that kept its place", small, func(f *file) { f.entry(2, uint64(f.at[2])|unmapped) }, nil},
		{"its place is another's too", small, func(f *file) { f.entry(1, uint64(f.at[2])|unmapped) }, nil},
		{"a bitmap that nobody needs", child, func(f *file) { f.entry(0, 0); f.entry(2048, 5) },
			[][]string{{"sector bitmap of chunk 0: state 5"}}},
		{"a bitmap in a block's place", child, func(f *file) { f.entry(2048, uint64(f.at[1])|6) },
			[][]string{{"sector bitmap of chunk 0", "overlaps another block"}}},
		{"metadata and a header", small, func(f *file) { f.b[builtMetadata]++; f.b[headerAt[0]]++ }, [][]string{{"header: signature"}, {"metadata table: signature"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := copies[c.disk.locator != nil]()
			c.change(f)
			formattest.WantProblems(t, problems(t, formattest.Bytes(f.b)), c.want...)
		})
	}
}

// TestCheckOfManyProblemsIsBounded has every entry of a large disk name the header section.
func TestCheckOfManyProblemsIsBounded(t *testing.T) {
	d := disk{size: 100 << 30, blockSize: mib, sector: 512}
	f := d.build()
	for i := range f.g.entries() {
		f.entry(i, fullyPresent)
	}
	found := problems(t, formattest.Bytes(f.b))
	if last := found[len(found)-1]; len(found) != formats.MaxFindings+1 || last.Text != "after 10000 problems nothing more was looked at" {
		t.Errorf("%d problems, the last %v", len(found), last)
	}
}

func TestCheckReturnsWhatKeptItFromLooking(t *testing.T) {
	f, _ := dirtyFile()
	image := formattest.Bytes(f.b)
	broken := errors.New("broken cable")
	count := &formattest.Counting{Source: image}
	problems(t, count)
	for at := int64(1); at <= count.Calls(); at++ {
		src := &formattest.Faulty{Source: image, At: at, Err: broken}
		err := Driver{}.Check(t.Context(), src, formats.OpenOptions{}, func(p formats.Problem) {
			t.Errorf("a failing source is called damage: %v", p)
		})
		if !errors.Is(err, broken) {
			t.Errorf("read %d of %d failed and Check = %v", at, count.Calls(), err)
		}
	}
}
