package zvhd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/formats/zstream"
)

func checkImage(t *testing.T, image []byte) []formats.Problem {
	t.Helper()
	return formattest.Problems(t, New(), formattest.Bytes(image), formats.OpenOptions{})
}

// expectProblems wants Check to find these problems, each by words of its text, in order, and no others. A word
// "leak" stands for the mark.
func expectProblems(t *testing.T, image []byte, want ...[]string) {
	t.Helper()
	formattest.WantProblems(t, checkImage(t, image), want...)
}

func TestCheckFindsNothingWrongWithTheVendorsFiles(t *testing.T) {
	for _, g := range goldenFiles {
		t.Run(g, func(t *testing.T) { expectProblems(t, readFile(t, g+".zvhd")) })
	}
}

func TestCheckFindsDamage(t *testing.T) {
	le := binary.LittleEndian
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		want   [][]string
	}{
		{"header lost", func(b []byte) []byte { clear(b[:unit]); return b }, [][]string{{"header: cookie"}}},
		{"header lost and its copy wrong", func(b []byte) []byte { clear(b[:unit]); poke(b, tinyCopy, "type", 3); return b },
			[][]string{{"header: cookie"}, {"header: type is 3"}}},
		{"header fields", func(b []byte) []byte { poke(b, 0, "type", 3); poke(b, 0, "features", 1); return b },
			[][]string{{"features is 1"}, {"type is 3"}, {"copy of the header: features"}, {"copy of the header: type"}}},
		{"huge", func(b []byte) []byte { poke(b, 0, "original_size", 1<<63); return b },
			[][]string{{"original_size is 9223372036854775808"}, {"current_size"}, {"copy of the header: original_size"}}},
		{"copy of another file", func(b []byte) []byte { poke(b, tinyCopy, "uuid", 1); return b }, [][]string{{"copy of the header: uuid"}}},
		{"copy's checksum", func(b []byte) []byte { b[tinyCopy+64]++; return b }, [][]string{{"copy of the header: checksum"}}},
		{"copy's reserved bytes", func(b []byte) []byte { b[tinyCopy+200]++; seal(b, tinyCopy); return b }, [][]string{{"copy of the header: reserved"}}},
		{"both", func(b []byte) []byte { b[0], b[tinyCopy] = 0, 0; return b }, [][]string{{"header: cookie"}, {"copy of the header: cookie"}}},
		{"bytes behind", func(b []byte) []byte { return append(b, make([]byte, 5000)...) }, [][]string{{"5000 bytes belong to nothing", "leak"}}},
		{"copy too early", func(b []byte) []byte { copy(b[tinyBlock7:], b[:unit]); return b }, [][]string{{"12288 bytes belong to nothing", "leak"}}},
		{"cut", func(b []byte) []byte { return b[:tinyCopy] }, [][]string{{"truncated"}}},
		{"cut in a chunk", func(b []byte) []byte { return b[:tinyCopy-1] }, [][]string{{"block 7", "compressed size is 9524"}}},
		{"one payload", func(b []byte) []byte { b[tinyBlock1+zstream.ChunkHeaderSize] ^= 6; return b }, [][]string{{"block 1", "deflate", "no later block"}}},
		{"two payloads", func(b []byte) []byte {
			b[tinyBlock1+zstream.ChunkHeaderSize] ^= 6
			b[tinyBlock5+zstream.ChunkHeaderSize] ^= 6
			return b
		}, [][]string{{"block 1", "deflate", "no later block"}, {"block 5", "deflate"}}},
		{"trailer", func(b []byte) []byte { b[tinyBlock2-4] = 0; return b }, [][]string{{"block 1", "last four bytes", "no later block"}}},
		{"cookie of a chunk", func(b []byte) []byte { b[tinyBlock4] = 'H'; return b }, [][]string{{"cookie"}}},
		{"cookies of two", func(b []byte) []byte { b[tinyBlock4], b[tinyBlock5] = 0, 0; return b }, [][]string{{"cookie"}}},
		{"cookie of the first", func(b []byte) []byte { b[unit] = 0; return b }, [][]string{{"cookie"}}},
		{"cookie of the last", func(b []byte) []byte { b[tinyBlock7] = 0; return b }, [][]string{{"cookie"}}},
		{"cookie of the copy", func(b []byte) []byte { b[tinyCopy] = 0; return b }, [][]string{{"cookie"}}},
		{"compressed size", func(b []byte) []byte { le.PutUint32(b[tinyBlock4+12:], 1<<31); return b }, [][]string{{"block 4", "compressed size is 2147483648"}}},
		{"order", func(b []byte) []byte { le.PutUint32(b[tinyBlock2+16:], 6); return b }, [][]string{{"block 4", "after that of block 6"}}},
		{"block after the disk", func(b []byte) []byte { le.PutUint32(b[tinyBlock7+16:], 8); return b }, [][]string{{"block 8", "the disk has 8"}}},
		{"zlib header", func(b []byte) []byte { b[unit+zstream.ChunkHeaderSize]++; return b }, [][]string{{"block 0", "zlib header", "no later block"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := c.change(readFile(t, "tiny.zvhd"))
			expectProblems(t, image, c.want...)
		})
	}
}

func TestCheckReturnsWhatKeptItFromLooking(t *testing.T) {
	image := formattest.Bytes(readFile(t, "tiny.zvhd"))
	broken := errors.New("broken cable")
	count := &formattest.Counting{Source: image}
	report := func(p formats.Problem) { t.Errorf("a failing source is called damage: %v", p) }
	if err := New().Check(t.Context(), count, formats.OpenOptions{}, report); err != nil {
		t.Fatal(err)
	}
	for at := int64(1); at <= count.Calls(); at++ {
		src := &formattest.Faulty{Source: image, At: at, Err: broken}
		if err := New().Check(t.Context(), src, formats.OpenOptions{}, report); !errors.Is(err, broken) {
			t.Errorf("read %d of %d failed and Check = %v", at, count.Calls(), err)
		}
	}
	old := bytes.Clone(image)
	poke(old, 0, "version", 2)
	if err := New().Check(t.Context(), formattest.Bytes(old), formats.OpenOptions{}, report); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Check of an unknown version = %v", err)
	}
}
