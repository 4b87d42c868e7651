// Package formattest is the conformance suite of formats.Driver: the rules for all layouts are
// tested here once, and a driver's own tests are left with its particulars. Only tests import it.
//
// A driver brings cases, each an image and the flat model of the disk inside it (Disk), and calls
// Run:
//
//	func TestConformance(t *testing.T) {
//		formattest.Run(t, mydriver.New(), []formattest.Case{
//			{Name: "small", Image: image, Disk: formattest.Flat(plain)},
//		})
//	}
//
// The sources it uses (Bytes, Sparse, Counting, Faulty, Shrinking) are there for a driver's own
// tests too.
package formattest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/imsfs/imsfs/formats"
)

// Case is one image with its model.
type Case struct {
	Name  string
	Image []byte
	Disk  Disk
	// Checked are the ranges of Image in which no flipped bit may go unnoticed: those a checksum
	// covers.
	Checked []Range
	// PrefixValid says that a prefix of an image is an image too, for example of raw: cutting it is
	// not damage.
	PrefixValid bool
	// Open is the driver's input beside the image: the other files of an image of several.
	Open formats.OpenOptions
	// Maximal says that the driver promises maximal extents without formats.Extents joining them.
	Maximal bool
}

// Range is [Off, End) of an image file.
type Range struct{ Off, End int64 }

// maxRead bounds one read of the suite, so that huge disks are read around their edges only.
const maxRead = 5 << 20

// Run tests that the driver reads every case as its model says, and that it stands damage and
// failing sources. A short run is for the race detector: it leaves out what one goroutine does.
func Run(t *testing.T, d formats.Driver, cases []Case) {
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			r := &runner{c: c, set: formats.Set{Drivers: []formats.Driver{d}}, name: d.Name()}
			t.Run("concurrent", r.testConcurrent)
			if testing.Short() {
				return
			}
			t.Run("probe", r.testProbe)
			t.Run("read", r.testRead)
			t.Run("extents", r.testExtents)
			t.Run("holes", r.testHoles)
			t.Run("out-of-range", r.testOutOfRange)
			t.Run("cancelled", r.testCancelled)
			t.Run("prefixes", r.testPrefixes)
			t.Run("flips", r.testFlips)
			t.Run("faults", r.testFaults)
			t.Run("shrinking", r.testShrinking)
		})
	}
}

// runner is one case on its way through the suite.
type runner struct {
	c    Case
	set  formats.Set
	name string
}

func (r *runner) open(t *testing.T) formats.Image {
	t.Helper()
	img, err := r.set.Open(t.Context(), Bytes(r.c.Image), r.name, r.c.Open)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// checkRead reads [off, off+n) and compares it with the model. The buffer starts as rubbish, so
// that bytes the driver leaves alone are found.
func (r *runner) checkRead(t *testing.T, img formats.Image, off, n int64) {
	t.Helper()
	p := bytes.Repeat([]byte{0xDB}, int(n))
	if err := img.ReadAt(t.Context(), p, off); err != nil {
		t.Fatalf("ReadAt(off=%d, n=%d) = %v", off, n, err)
	}
	if diff := r.c.Disk.diff(p, off); diff != "" {
		t.Fatalf("ReadAt(off=%d, n=%d) %s", off, n, diff)
	}
}

// pick gives a random range of the disk: half of them lie near an edge, where mistakes live.
func (r *runner) pick(rnd *rand.Rand, edges []int64, limit int64) (off, n int64) {
	size := r.c.Disk.Bytes
	off = rnd.Int64N(size)
	if rnd.IntN(2) == 0 {
		off = edges[rnd.IntN(len(edges))] - rnd.Int64N(5000)
	}
	off = min(max(off, 0), size-1)
	n = 1 + rnd.Int64N(min(limit, 1<<(1+rnd.IntN(23))))
	return off, min(n, size-off)
}

func (r *runner) testProbe(t *testing.T) {
	d, err := r.set.Named(r.name)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := d.Probe(t.Context(), Bytes(r.c.Image)); !ok || err != nil {
		t.Errorf("Probe of an image of the format = %v, %v", ok, err)
	}
	// Whatever it claims, a probe must stand sources of any size.
	for n := range min(len(r.c.Image), 20) {
		if _, err := d.Probe(t.Context(), Bytes(r.c.Image[:n])); err != nil {
			t.Errorf("Probe of %d bytes: %v", n, err)
		}
	}
}

func (r *runner) testOutOfRange(t *testing.T) {
	img := r.open(t)
	size := img.Info().Size
	for _, c := range []struct{ off, n int64 }{{-1, 1}, {size, 1}, {size - 1, 2}, {1 << 62, 1}, {-1 << 63, 1}} {
		if err := img.ReadAt(t.Context(), make([]byte, c.n), c.off); err == nil {
			t.Errorf("ReadAt(off=%d, n=%d) on a disk of %d bytes was answered", c.off, c.n, size)
		}
		if _, err := img.Extent(t.Context(), c.off, c.n); err == nil {
			t.Errorf("Extent(off=%d, n=%d) on a disk of %d bytes was answered", c.off, c.n, size)
		}
	}
	for _, n := range []int64{0, -1, size + 1, 1<<63 - 1} {
		if _, err := img.Extent(t.Context(), 0, n); err == nil {
			t.Errorf("Extent(off=0, n=%d) on a disk of %d bytes was answered", n, size)
		}
	}
}

func (r *runner) testConcurrent(t *testing.T) {
	img := r.open(t)
	edges := r.c.Disk.edges(img.Info().ClusterSize)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 7))
			for range 6 {
				off, n := r.pick(rnd, edges, 256<<10)
				p := make([]byte, n)
				if err := img.ReadAt(t.Context(), p, off); err != nil {
					t.Errorf("ReadAt(off=%d, n=%d) = %v", off, n, err)
					return
				}
				if diff := r.c.Disk.diff(p, off); diff != "" {
					t.Errorf("ReadAt(off=%d, n=%d) %s", off, n, diff)
					return
				}
			}
		})
	}
	wg.Wait()
}

// testCancelled wants a read that needs the source to end with its context's error.
func (r *runner) testCancelled(t *testing.T) {
	img := r.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, part := range r.c.Disk.Parts {
		p := make([]byte, min(int64(len(part.Data)), 4096))
		if err := img.ReadAt(ctx, p, part.Off); err == nil && r.c.Disk.diff(p, part.Off) != "" {
			t.Errorf("a cancelled ReadAt(off=%d) gave wrong bytes and no error", part.Off)
		}
	}
	if _, err := r.set.Open(ctx, Bytes(r.c.Image), r.name, r.c.Open); err == nil {
		t.Error("a cancelled Open succeeded though it must read the source")
	}
}
