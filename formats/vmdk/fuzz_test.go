package vmdk

import (
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// fuzzSeeds are small images and, for those of several files, a file by the name of "a".
func fuzzSeeds() (seeds []struct{ image, beside []byte }) {
	add := func(image, beside []byte) { seeds = append(seeds, struct{ image, beside []byte }{image, beside}) }
	for _, s := range single() {
		s.grain, s.gtes, s.zeroed = 4096, min(s.gtes, 8), s.zeroed[:min(len(s.zeroed), 2)]
		s.disk = diskOf(100<<10+512, 0, 5000, 40<<10, 8192, 100<<10, 512)
		image := s.build()
		add(image, nil)
		add(image[:len(image)/2], nil)
		s.descriptor = ""
		add([]byte(describe("custom", `RW 201 SPARSE "a"`, "RDONLY 7 ZERO", `RW 8 FLAT "a" 3`)), s.build())
	}
	add([]byte(describe("vmfs", `RW 9 VMFS "a"`)), formattest.Pattern(0, 9*512))
	add([]byte(strings.Replace(describe("vmfs", `RW 9 FLAT "a" 0 "uuid"`), "version=1", "version=1\nencoding=\"GBK\"", 1)), formattest.Pattern(0, 9*512))
	small := diskOf(100<<10+512, 0, 5000, 40<<10, 1024, 100<<10, 512)
	add([]byte(describe("vmfsSparse", `RW 201 VMFSSPARSE "a"`)), buildCOWD(small, 1))
	add([]byte(describe("seSparse", `RW 201 SESPARSE "a"`)), buildSESparse(small, 3, 4))
	return seeds
}

// FuzzOpen opens hostile files, walks their extents, reads in each and checks them. Nothing may panic, and errors must be of a kind
// that callers know.
func FuzzOpen(f *testing.F) {
	for _, s := range fuzzSeeds() {
		f.Add(s.image, s.beside)
	}
	d := New()
	f.Fuzz(func(t *testing.T, image, beside []byte) {
		opts := formats.OpenOptions{Files: files{"a": formattest.Bytes(beside)}}
		formattest.Hostile(t, d, formattest.Bytes(image), opts)
	})
}

// TestFuzzSeedsOpen keeps the seeds from rotting: whole ones must open.
func TestFuzzSeedsOpen(t *testing.T) {
	opened := 0
	for _, s := range fuzzSeeds() {
		img, err := New().Open(t.Context(), formattest.Bytes(s.image), formats.OpenOptions{Files: files{"a": formattest.Bytes(s.beside)}})
		if len(s.image)+len(s.beside) > 96<<10 {
			t.Errorf("a seed of %d bytes", len(s.image)+len(s.beside))
		}
		if err == nil {
			opened++
			if len(s.beside) > 0 && formattest.ReadEverywhere(t, img) {
				t.Error("a seed does not read")
			}
		}
	}
	if opened < 2*len(single())+1 {
		t.Errorf("%d seeds open", opened)
	}
}
