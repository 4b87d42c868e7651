// Package treetest is the conformance suite of file-system drivers.
//
// A driver's test makes an image, names a judge (a directory with the files that the image must
// have: what the image was made from, or the kernel's mount of it), and calls Run. For example,
// with mkfs:
//
//	src := t.TempDir()
//	treetest.Fill(t, src, treetest.Unix())
//	img := treetest.Image(t, 64<<20)
//	treetest.Command(t, "mkfs.ext4", "e2fsprogs", "-q", "-d", src, img)
//	treetest.Run(t, treetest.Case{Driver: ext.Driver{}, Image: img, Judge: src, Has: treetest.Unix(),
//		Ignore: []string{"lost+found"}})
//
// and with the kernel, whose mounts also judge link counts, sizes of directories and all times:
//
//	img := treetest.Image(t, 64<<20)
//	treetest.Command(t, "mkfs.ext4", "e2fsprogs", "-q", img)
//	treetest.Write(t, img, "ext4", "", func(dir string) { treetest.Fill(t, dir, treetest.Unix()) })
//	has := treetest.Unix()
//	has.Kernel = true
//	treetest.Run(t, treetest.Case{Driver: ext.Driver{}, Image: img, Judge: treetest.Mount(t, img, "ext4", ""), Has: has})
//
// Mutate damages the metadata of an image in many ways, and Fuzz is the body of a fuzz target.
package treetest

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

// Case is an image and its expected contents.
type Case struct {
	Driver  tree.Driver
	Options tree.Options
	Image   string // path of a raw image
	Judge   string // directory with the same files
	Has     Traits
	// Ignore are paths that are not compared, nor their entries: "lost+found".
	Ignore []string
	// Adjust turns a record of the judge into one that the file system can hold; nil changes
	// nothing.
	Adjust func(*Record)
	Bars   Bars
}

// Bars are the most requests that an image may be asked. 0 is the default.
type Bars struct {
	Open       int64 // of Driver.Open; 32
	Walk       int64 // of the names and attributes of all files: 40 and one for 8 files
	WalkBytes  int64 // likewise: 4 MiB and 1,200 a file
	SmallFiles int64 // of finding and reading a small file after Open: 24
}

// Open opens the case's image anew, until the test ends.
func (c Case) Open(t testing.TB) (tree.Tree, *disk.Disk) {
	t.Helper()
	d := disk.New(formattest.OpenFile(t, c.Image))
	if ok, err := c.Driver.Probe(t.Context(), d); !ok || err != nil {
		t.Fatalf("%s does not know its own image: %v, %v", c.Driver.Name(), ok, err)
	}
	opened, err := c.Driver.Open(t.Context(), d, c.Options)
	if err != nil {
		t.Fatal(err)
	}
	return opened, d
}

// Run compares the image with its judge, and holds the tree to the contract.
func Run(t *testing.T, c Case) {
	t.Helper()
	tr, _ := c.Open(t)
	t.Run("SameAsJudge", func(t *testing.T) { sameAsJudge(t, c, tr) })
	files := all(t, tr)
	t.Run("OddPieces", func(t *testing.T) { oddPieces(t, tr, files) })
	t.Run("Extents", func(t *testing.T) { extents(t, c, tr, files) })
	t.Run("Cookies", func(t *testing.T) { cookies(t, tr, files) })
	t.Run("Lookup", func(t *testing.T) { lookups(t, tr, files) })
	t.Run("WrongTypes", func(t *testing.T) { wrongTypes(t, tr, files) })
	t.Run("Concurrent", func(t *testing.T) { concurrent(t, c, files) })
	t.Run("Bars", func(t *testing.T) { bars(t, c, files) })
	t.Run("EndedContext", func(t *testing.T) { endedContext(t, c) })
}

// all are the files of a tree; none may be unreadable.
func all(t *testing.T, tr tree.Tree) []tree.File {
	t.Helper()
	var files []tree.File
	err := tree.Walk(t.Context(), tr, tr.Root(), func(f tree.File, err error) error {
		if err != nil {
			t.Errorf("%q: %v", f.Path, err)
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// sameAsJudge compares every file, line by line.
func sameAsJudge(t *testing.T, c Case, tr tree.Tree) {
	got, err := Records(t.Context(), tr, c.Has)
	if err != nil {
		t.Error(err)
	}
	want := HostRecords(t, c.Judge, c.Has)
	if c.Adjust != nil {
		for i := range want {
			c.Adjust(&want[i])
		}
	}
	if diff := Diff(c.lines(got), c.lines(want)); diff != "" {
		t.Errorf("- is only in the tree, + only in %s:\n%s", c.Judge, diff)
	}
	t.Logf("%s: %d files compared", c.Driver.Name(), len(got))
}

func (c Case) lines(records []Record) []string {
	var lines []string
	for _, r := range records {
		ignored := slices.ContainsFunc(c.Ignore, func(p string) bool {
			return r.Path == p || strings.HasPrefix(r.Path, p+"/")
		})
		if !ignored && (r.Path != "" || c.Has.Kernel) {
			lines = append(lines, r.Line(c.Has))
		}
	}
	slices.Sort(lines)
	return lines
}

// Diff returns the lines that only one of two sorted lists has, at most 40; "" if there are none.
func Diff(got, want []string) string {
	var b strings.Builder
	lines := 0
	add := func(mark, line string) {
		if lines++; lines <= 40 {
			b.WriteString(mark + line + "\n")
		}
	}
	for len(got) > 0 || len(want) > 0 {
		switch {
		case len(want) == 0 || len(got) > 0 && got[0] < want[0]:
			add("- ", got[0])
			got = got[1:]
		case len(got) == 0 || want[0] < got[0]:
			add("+ ", want[0])
			want = want[1:]
		default:
			got, want = got[1:], want[1:]
		}
	}
	return b.String()
}

const smallFile = 8 << 20

// oddPieces reads regular files in pieces that no block size divides, and past their ends.
func oddPieces(t *testing.T, tr tree.Tree, files []tree.File) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, f := range files {
		if f.Attr.Type() != tree.TypeFile || f.Attr.Size > smallFile {
			continue
		}
		whole := make([]byte, f.Attr.Size)
		if n, err := tr.ReadAt(t.Context(), f.Attr.ID, whole, 0); n != len(whole) || err != nil && err != io.EOF {
			t.Errorf("%q: %d of %d bytes, %v", f.Path, n, len(whole), err)
			continue
		}
		for range 12 {
			off := r.Int64N(f.Attr.Size + 10)
			p := bytes.Repeat([]byte{0xA5}, 1+r.IntN([]int{7, 513, 4097, 70001}[r.IntN(4)]))
			n, err := tr.ReadAt(t.Context(), f.Attr.ID, p, off)
			want := whole[min(off, f.Attr.Size):min(off+int64(len(p)), f.Attr.Size)]
			if n != len(want) || !bytes.Equal(p[:n], want) || (err != nil) != (n < len(p)) && !(err == io.EOF && off+int64(n) == f.Attr.Size) {
				t.Errorf("%q: [%d, +%d) of %d: %d bytes, %v; equal %v", f.Path, off, len(p), f.Attr.Size, n, err,
					n == len(want) && bytes.Equal(p[:n], want))
			}
			if err != nil && err != io.EOF {
				t.Errorf("%q: %v", f.Path, err)
			}
		}
	}
}

// extents follows the map of every file: runs join, zero runs are zeros, and sparse files have
// holes.
func extents(t *testing.T, c Case, tr tree.Tree, files []tree.File) {
	if _, ok := tr.(tree.Mapper); !ok {
		t.Skip("the tree knows no holes")
	}
	for _, f := range files {
		if f.Attr.Type() != tree.TypeFile {
			continue
		}
		zero, runs := int64(0), 0
		for off := int64(0); off < f.Attr.Size; runs++ {
			e, err := tree.Extent(t.Context(), tr, f.Attr.ID, off, f.Attr.Size-off)
			if err != nil {
				t.Errorf("%q: %v", f.Path, err)
				break
			}
			if e.State == formats.Zero {
				zero += e.Len
				allZero(t, tr, f, e)
			} else if e.State != formats.Data {
				t.Errorf("%q: at %d the state is %v", f.Path, off, e.State)
			}
			off = e.End()
		}
		if c.Has.Holes && bytes.HasPrefix(f.Path, []byte("sparse/")) && zero < f.Attr.Size-1<<20 {
			t.Errorf("%q: %d of %d bytes are holes, in %d runs", f.Path, zero, f.Attr.Size, runs)
		}
	}
}

// allZero reads the ends of a run of zeros.
func allZero(t *testing.T, tr tree.Tree, f tree.File, e formats.Extent) {
	t.Helper()
	p := make([]byte, min(e.Len, 5000))
	for _, off := range []int64{e.Off, e.End() - int64(len(p))} {
		n, err := tr.ReadAt(t.Context(), f.Attr.ID, p, off)
		if n != len(p) || err != nil && err != io.EOF || !zeros(p) {
			t.Errorf("%q: [%d, +%d) is zero in the map, and reads otherwise (%v)", f.Path, off, n, err)
		}
	}
}

// concurrent reads the image on 100 goroutines, through one tree that was not read before.
func concurrent(t *testing.T, c Case, files []tree.File) {
	tr, _ := c.Open(t)
	reference, _ := c.Open(t)
	regular := slices.DeleteFunc(slices.Clone(files), func(f tree.File) bool {
		return f.Attr.Type() != tree.TypeFile || f.Attr.Size > 1<<20
	})
	if len(regular) == 0 {
		t.Fatal("no file to read")
	}
	sums := make([]string, len(regular))
	for i, f := range regular {
		sums[i] = mustSum(t, reference, f.Attr)
	}
	var wait sync.WaitGroup
	for g := range 100 {
		wait.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 7))
			for range 10 {
				i := r.IntN(len(regular))
				f := regular[i]
				id, err := tree.Resolve(t.Context(), tr, tr.Root(), f.Path, false)
				if err != nil || id != f.Attr.ID {
					t.Errorf("%q: %d, %v; want %d", f.Path, id, err, f.Attr.ID)
					return
				}
				if got, err := sum(t.Context(), tr, f.Attr); err != nil || got != sums[i] {
					t.Errorf("%q: other bytes, %v", f.Path, err)
				}
			}
		})
	}
	wait.Wait()
}

func mustSum(t *testing.T, tr tree.Tree, a tree.Attr) string {
	t.Helper()
	s, err := sum(t.Context(), tr, a)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// endedContext: no method goes on in a context that has ended.
func endedContext(t *testing.T, c Case) {
	tr, _ := c.Open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tree.Walk(ctx, tr, tr.Root(), func(_ tree.File, err error) error { return err }); err == nil {
		t.Error("a walk ends without an error")
	}
	if _, err := c.Driver.Open(ctx, disk.New(formattest.OpenFile(t, c.Image)), c.Options); err == nil {
		t.Error("Open succeeds")
	}
}
