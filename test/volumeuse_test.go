package test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// TestCommitWhileWriting: an image is the disk between two writes. The writer writes ascending
// numbers to one unit after the other, so the largest number in an image determines all others.
func TestCommitWhileWriting(t *testing.T) {
	const unit, units, commits = 4096, 1000, 4
	d := serve(t)
	d.run(t, "", "create one size="+strconv.Itoa(units*unit))
	f, err := os.OpenFile(d.volume("one", "disk"), os.O_RDWR, 0)
	must(t, err)
	var count atomic.Uint64
	var enough atomic.Bool
	var writer sync.WaitGroup
	writer.Go(func() {
		p := make([]byte, unit)
		for !enough.Load() {
			n := count.Load() + 1
			binary.LittleEndian.PutUint64(p, n)
			binary.LittleEndian.PutUint64(p[unit-8:], n)
			if _, err := f.WriteAt(p, int64(n%units)*unit); err != nil {
				t.Error(err)
				return
			}
			count.Store(n)
		}
	})
	for i := range commits {
		image := fmt.Sprintf("image-%d", i)
		eventually(t, func() string {
			if n := count.Load(); n < uint64(i*units/2) {
				return fmt.Sprintf("%d writes are done", n)
			}
			return ""
		})
		before := count.Load()
		d.run(t, "volumes/one", "commit "+image)
		d.awaitJob(t, "volumes/one")
		after := count.Load()
		checkCut(t, image, readFile(t, d.disk(image)), unit, before, after)
	}
	enough.Store(true)
	writer.Wait()
	checkCut(t, "the volume", readFile(t, d.volume("one", "disk")), unit, count.Load(), count.Load())
	must(t, f.Close())
}

// checkCut finds the last number on the disk. It must be from before to after, or the next one,
// which was being written. All other numbers must fit it.
func checkCut(t *testing.T, name string, disk []byte, unit int, before, after uint64) {
	t.Helper()
	number := func(u int) uint64 { return binary.LittleEndian.Uint64(disk[u*unit:]) }
	cut, units := uint64(0), len(disk)/unit
	for u := range units {
		cut = max(cut, number(u))
	}
	if cut < before || cut > after+1 {
		t.Errorf("%s was cut at %d, and the commit was between %d and %d", name, cut, before, after)
	}
	for u := range units {
		want := uint64(0)
		if back := (cut%uint64(units) + uint64(units) - uint64(u)) % uint64(units); back < cut {
			want = cut - back
		}
		tail := binary.LittleEndian.Uint64(disk[u*unit+unit-8:])
		if number(u) != want || tail != want {
			t.Fatalf("%s, cut at %d: unit %d has %d and %d, want %d", name, cut, u, number(u), tail, want)
		}
	}
}

// TestManyClones: a hundred clones of one image read the same, and the daemon's cache does not grow
// with their number.
func TestManyClones(t *testing.T) {
	const clones, readers = 100, 4
	d := serve(t, "--cache-size", "16MiB")
	m := makeModel(t, d.file("base.raw"), 4*mib, 31)
	d.register(t, "web", m.as(t, "zvhd2"))
	for i := range clones {
		d.run(t, "web", fmt.Sprintf("clone clone-%d", i))
	}
	want := readFile(t, m.path)
	var all sync.WaitGroup
	for r := range readers {
		all.Go(func() {
			for i := r; i < clones; i += readers {
				got, err := readStart(d.volume(fmt.Sprintf("clone-%d", i), "disk"), len(want))
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("clone-%d differs, %v", i, err)
				}
			}
		})
	}
	all.Wait()
	used, err := strconv.ParseInt(d.status(t, "", "cache_used"), 10, 64)
	if err != nil || used > 16*mib {
		t.Errorf("the cache has %d bytes, and may have 16 MiB: %v", used, err)
	}
	if got := d.status(t, "", "cache_loads"); got != "2" {
		t.Errorf("%s loads, want one for each of the image's two clusters, whoever reads them", got)
	}
	for i := range clones {
		d.run(t, "volumes/"+fmt.Sprintf("clone-%d", i), "delete")
	}
}

// readStart reads the first n bytes of a file.
func readStart(path string, n int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, n)
	_, err = io.ReadFull(f, b)
	return b, err
}
