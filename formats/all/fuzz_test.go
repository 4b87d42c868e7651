package all_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/all"
)

// Any bytes at all: some driver claims them, or they are refused with a reason; as raw they read as they are, and
// whatever opens can be read without a panic.
func FuzzOpen(f *testing.F) {
	f.Add([]byte("no format at all"))
	f.Add(bytes.Repeat([]byte{0}, 1000))
	f.Add([]byte("QFI\xfb\x00\x00\x00\x03 and more"))
	f.Add([]byte("z2strm\x00\x00 and no more"))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	set := all.Formats()
	f.Fuzz(func(t *testing.T, data []byte) {
		src := source(data)
		img, err := set.Open(t.Context(), src, "", formats.OpenOptions{})
		if err != nil && !errors.Is(err, formats.ErrCorrupt) && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("refused without a known reason: %v", err)
		}
		if err == nil {
			readAll(t, img)
		}
		img, err = set.Open(t.Context(), src, "raw", formats.OpenOptions{})
		if len(data) == 0 {
			return
		}
		if err != nil {
			t.Fatalf("raw: %v", err)
		}
		got := readAll(t, img)
		n := min(len(data), len(got))
		if !bytes.Equal(got[:n], data[:n]) || bytes.Trim(got[n:], "\x00") != nil {
			t.Error("raw: the disk is not the file and zeros to the next sector")
		}
	})
}

// readAll reads the disk's first 64 KiB by its extents.
func readAll(t *testing.T, img formats.Image) []byte {
	p := make([]byte, min(img.Info().Size, 64<<10))
	for e, err := range formats.Extents(t.Context(), img, 0, int64(len(p))) {
		if err != nil {
			t.Fatal(err)
		}
		if err := img.ReadAt(t.Context(), p[e.Off:e.End()], e.Off); err != nil && !errors.Is(err, formats.ErrCorrupt) {
			t.Fatalf("reading %+v: %v", e, err)
		}
	}
	return p
}
