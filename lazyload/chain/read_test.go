package chain

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/source"
)

func TestLayersAreOneDisk(t *testing.T) {
	dir := files(t, map[string]string{
		"top":  "script 20\nbacking mid\ndata 2 2 T\nzero 6 2\n",
		"mid":  "script 16\nbacking base\nformat raw\ndata 3 2 M\ndata 14 2 M\n",
		"base": strings.Repeat("b", 512),
	})
	c := open(t, filepath.Join(dir, "top"), Config{})
	// The base is longer than the layers on it, the middle one shorter than the top.
	if got, want := content(t, c), "bbTTMb..bbbbbbMM...."; got != want {
		t.Errorf("the disk is %s, want %s", got, want)
	}
	want := []formats.Extent{
		{Off: 0, Len: 2, State: formats.Data, Depth: 2},
		{Off: 2, Len: 2, State: formats.Data, Depth: 0},
		{Off: 4, Len: 1, State: formats.Data, Depth: 1},
		{Off: 5, Len: 1, State: formats.Data, Depth: 2},
		{Off: 6, Len: 2, State: formats.Zero, Depth: 0},
		{Off: 8, Len: 6, State: formats.Data, Depth: 2},
		{Off: 14, Len: 2, State: formats.Data, Depth: 1},
		{Off: 16, Len: 4, State: formats.Unallocated, Depth: 0},
	}
	i := 0
	for e, err := range formats.Extents(t.Context(), c, 0, 20) {
		if err != nil || i >= len(want) || e != want[i] {
			t.Fatalf("extent %d is %+v, %v, want %+v", i, e, err, want[min(i, len(want)-1)])
		}
		i++
	}
	if i != len(want) {
		t.Errorf("%d extents, want %d", i, len(want))
	}
	info := c.Info()
	if info.Size != 20 || info.Allocated != formats.Unknown || len(c.Layers()) != 3 || c.Layers()[2].Info().Format != "raw" {
		t.Errorf("info %+v of %d layers", info, len(c.Layers()))
	}
	if err := c.ReadAt(t.Context(), make([]byte, 5), 16); err == nil {
		t.Error("a read over the end of the disk was answered")
	}
	if err := c.ReadAt(t.Context(), nil, 20); err != nil {
		t.Errorf("a read of nothing: %v", err)
	}
}

func TestUnallocatedBelowIsAtTheLastLayer(t *testing.T) {
	dir := files(t, map[string]string{"top": "script 8\nbacking base\n", "base": "script 8\n"})
	c := open(t, filepath.Join(dir, "top"), Config{})
	e, err := c.Extent(t.Context(), 3, 4)
	if want := (formats.Extent{Off: 3, Len: 4, State: formats.Unallocated, Depth: 1}); err != nil || e != want {
		t.Errorf("extent %+v, %v, want %+v", e, err, want)
	}
}

func TestAloneReadsZeros(t *testing.T) {
	dir := files(t, map[string]string{"top": "script 6\nbacking /etc/shadow\ndata 2 2 T\n"})
	c := open(t, filepath.Join(dir, "top"), Config{Alone: true})
	if got := content(t, c); got != "..TT.." || c.Info().Backing == nil {
		t.Errorf("the disk is %s, info %+v", got, c.Info())
	}
}

// Random chains, read in random pieces, against a flat model.
func TestRandomChainsAgainstAModel(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 4))
		depth := 1 + rng.IntN(4)
		contents, sizes := map[string]string{}, make([]int64, depth)
		model := []byte{}
		for d := range depth { // from the base up
			sizes[d] = 1 + rng.Int64N(300)
			model = append(model, make([]byte, 300)...)[:sizes[d]]
			text := fmt.Sprintf("script %d\n", sizes[d])
			if d > 0 {
				text += fmt.Sprintf("backing layer%d\n", d-1)
			}
			if rng.IntN(2) == 0 {
				text += fmt.Sprintf("compressed %d\n", 8<<rng.IntN(3))
			}
			for off := int64(0); off < sizes[d]; {
				n := min(1+rng.Int64N(20), sizes[d]-off)
				switch rng.IntN(4) {
				case 0:
					letter := byte('a' + rng.IntN(26))
					text += fmt.Sprintf("data %d %d %c\n", off, n, letter)
					copy(model[off:off+n], strings.Repeat(string(letter), int(n)))
				case 1:
					text += fmt.Sprintf("zero %d %d\n", off, n)
					clear(model[off : off+n])
				}
				off += n
			}
			contents[fmt.Sprintf("layer%d", d)] = text
		}
		dir := files(t, contents)
		c := open(t, filepath.Join(dir, fmt.Sprintf("layer%d", depth-1)), Config{})
		for range 50 {
			off := rng.Int64N(int64(len(model)))
			p := []byte(strings.Repeat("?", int(rng.Int64N(int64(len(model))-off+1))))
			if err := c.ReadAt(t.Context(), p, off); err != nil || string(p) != string(model[off:off+int64(len(p))]) {
				t.Fatalf("seed %d: ReadAt(off=%d, n=%d) = %q, %v, want %q", seed, off, len(p), p, err, model[off:off+int64(len(p))])
			}
		}
	}
}

// A compressed cluster of a backing image that shines through in many places is decoded once a read.
func TestCompressedClusterBelowIsDecodedOnce(t *testing.T) {
	var top strings.Builder
	top.WriteString("script 128\nbacking base\n")
	for off := 0; off < 128; off += 8 {
		fmt.Fprintf(&top, "data %d 4 T\n", off)
	}
	dir := files(t, map[string]string{"top": top.String(), "base": "script 128\ncompressed 64\ndata 0 128 b\n"})
	var reads atomic.Int64
	c := open(t, filepath.Join(dir, "top"), Config{Formats: formats.Set{Drivers: []formats.Driver{script{&reads}}}})
	if got, want := content(t, c), strings.Repeat("TTTTbbbb", 16); got != want {
		t.Errorf("the disk is %s", got)
	}
	if n := reads.Load(); n != 1 {
		t.Errorf("%d reads of the backing image, want 1", n)
	}
}

func TestFilesOfAChain(t *testing.T) {
	dir := files(t, map[string]string{
		"top":      "script 8\nbacking sub/mid\npart piece\npart piece\n",
		"piece":    "1234",
		"sub/mid":  "script 8\nbacking base\n",
		"sub/base": "script 8\n",
	})
	c := open(t, filepath.Join(dir, "top"), Config{})
	var got []string
	for _, f := range c.Files() {
		rel, _ := filepath.Rel(dir, f.Path)
		got = append(got, rel)
		if info, err := os.Stat(f.Path); err != nil || f.Identity.Size != info.Size() || f.Identity.Tag.Get(source.Inode) == "" {
			t.Errorf("%s: %+v, %v", f.Path, f, err)
		}
	}
	if want := "[top piece sub/mid sub/base]"; fmt.Sprint(got) != want {
		t.Errorf("files %v, want %s", got, want)
	}
	for i, f := range c.Files() {
		if err := f.Unchanged(t.Context(), onlyFiles()); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(f.Path, []byte("something else"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := f.Unchanged(t.Context(), onlyFiles()); !errors.Is(err, source.ErrChanged) {
			t.Errorf("file %d: %v, want ErrChanged", i, err)
		}
	}
	if len(c.Sources()) != 3 {
		t.Errorf("%d sources", len(c.Sources()))
	}
}
