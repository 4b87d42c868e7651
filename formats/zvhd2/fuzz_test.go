package zvhd2

import (
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/formats/zstream"
)

// seed is an image without the half megabyte that its index segment takes: the data area, the used entries, the
// used part of the bitmap and the final footer.
type seed struct{ data, entries, bitmap, footer []byte }

func makeSeed(t testing.TB, disk formattest.Disk, full bool) seed {
	t.Helper()
	image := writeImage(t, disk, formats.CreateOptions{})
	f := finalFooter(image)
	used := f.entries() * entrySize
	s := seed{
		data: image[:f.indexLBA], entries: image[f.indexLBA : f.indexLBA+used],
		bitmap: image[f.bitmapLBA : f.bitmapLBA+uint64(ceilDiv(uint64(f.maxBlkNum), 8))],
		footer: image[len(image)-unit : len(image)-unit+footerSize],
	}
	if full {
		s.entries = make([]byte, int(f.maxBlkNum)*entrySize)
		for _, r := range refsOf(t, image) {
			encodeRef(s.entries[int(r.block)*entrySize:], r)
		}
		poke(s.footer, 0, "index_contains_zero_blk", 1)
	}
	return s
}

// source puts the parts where the footer says, or, where that is nonsense, where a good file has them. The
// footer's checksum is made right, or the fuzzer would hardly get past it.
func (s seed) source() formats.Source {
	foot := make([]byte, footerSize)
	copy(foot, s.footer)
	seal(foot, 0)
	f := decodeFooter(foot)
	index, bitmap := int64(f.indexLBA), int64(f.bitmapLBA)
	end := bitmap + int64(f.bitmapSize)
	if index < unit || bitmap < index || bitmap > 1<<28 { // and a large file is slow to check
		index = zstream.RoundUp(int64(len(s.data)), unit)
		bitmap = index + indexSegSize
		end = bitmap + bitmapSegSize
	}
	return formattest.Sparse{Bytes: end + unit, Parts: []formattest.Part{
		{Off: 0, Data: s.data}, {Off: index, Data: s.entries}, {Off: bitmap, Data: s.bitmap}, {Off: end, Data: foot},
	}}
}

// FuzzOpen opens hostile files, walks their extents, reads in each and checks them. Nothing may panic, and errors
// must be of a kind that callers know.
func FuzzOpen(f *testing.F) {
	small := formattest.Disk{Bytes: 9 << 20, Parts: []formattest.Part{{Off: 100, Data: formattest.Pattern(100, 5000)}, {Off: 5 << 20, Data: formattest.Pattern(5<<20, 4096)}}}
	wide := formattest.Disk{Bytes: 130 << 30, Parts: []formattest.Part{{Off: 64<<30 - 512, Data: formattest.Pattern(64<<30-512, 1024)}}}
	for _, s := range []seed{
		makeSeed(f, small, false), makeSeed(f, small, true), makeSeed(f, wide, false), makeSeed(f, formattest.Disk{Bytes: 1 << 20}, false),
	} {
		f.Add(s.data, s.entries, s.bitmap, s.footer)
		f.Add(s.data[:len(s.data)/2], s.entries, s.bitmap, s.footer[:100])
	}
	d := newDriver() // for all runs, as making a decoder takes longer than all the rest
	f.Fuzz(func(t *testing.T, data, entries, bitmap, foot []byte) {
		if len(foot) > footerSize {
			foot = foot[:footerSize]
		}
		formattest.Hostile(t, d, seed{data, entries, bitmap, foot}.source(), formats.OpenOptions{})
	})
}

// TestFuzzSeedsOpen keeps the seeds from rotting: whole ones must open.
func TestFuzzSeedsOpen(t *testing.T) {
	disk := formattest.Disk{Bytes: 9 << 20, Parts: []formattest.Part{{Off: 100, Data: formattest.Pattern(100, 5000)}}}
	for _, full := range []bool{false, true} {
		s := makeSeed(t, disk, full)
		img, err := newDriver().Open(t.Context(), s.source(), formats.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5000)
		if err := img.ReadAt(t.Context(), got, 100); err != nil || string(got) != string(disk.Parts[0].Data) {
			t.Errorf("full=%v: wrong bytes or %v", full, err)
		}
		if n := len(s.data) + len(s.entries) + len(s.bitmap) + len(s.footer); n > 64<<10 {
			t.Errorf("a seed of %d bytes", n)
		}
	}
}
