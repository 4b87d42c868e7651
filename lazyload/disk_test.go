package lazyload

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
)

const kib = 1 << 10

func openStriped(t *testing.T, img *striped, cfg Config) *Disk {
	t.Helper()
	l := New(cfg)
	d := l.Open(img)
	t.Cleanup(func() {
		d.Close()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func readAndCheck(t *testing.T, d *Disk, img *striped, off int64, n int) {
	t.Helper()
	p := make([]byte, n)
	got, err := d.ReadAt(t.Context(), p, off)
	want := int(min(int64(n), max(img.size-off, 0)))
	if got != want || (err != nil) != (want < n) || (err != nil && err != io.EOF) {
		t.Fatalf("Read(off=%d, n=%d) = %d, %v; want %d", off, n, got, err, want)
	}
	if err := img.check(p[:got], off); err != nil {
		t.Fatalf("Read(off=%d, n=%d): %v", off, n, err)
	}
}

func TestReadsEqualTheModel(t *testing.T) {
	for _, c := range []struct {
		name string
		img  *striped
		cfg  Config
	}{
		{"all kinds", &striped{size: 1000*kib + 512, cluster: 16 * kib, pattern: "ccpzuzcpucc"}, Config{}},
		{"compressed, small cache", &striped{size: 999 * kib, cluster: 32 * kib, pattern: "c"}, Config{CacheSize: 64 * kib}},
		{"cache smaller than a cluster", &striped{size: 999 * kib, cluster: 64 * kib, pattern: "cz"}, Config{CacheSize: 1}},
		{"no workers", &striped{size: 999 * kib, cluster: 4 * kib, pattern: "cccz"}, Config{Workers: -1}},
		{"one cluster larger than the disk", &striped{size: 5 * 512, cluster: 64 * kib, pattern: "c"}, Config{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := openStriped(t, c.img, c.cfg)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 0))
			for range 200 {
				off := rng.Int64N(c.img.size + 1000)
				readAndCheck(t, d, c.img, off, rng.IntN(100*kib))
			}
			for off := int64(0); off < c.img.size; off += 48 * kib { // forward, so that clusters are decoded ahead
				readAndCheck(t, d, c.img, off, 48*kib)
			}
			if n := c.img.partial.Load(); n > 0 {
				t.Errorf("%d compressed clusters were read in part", n)
			}
			if n := c.img.untrue.Load(); n > 0 {
				t.Errorf("the image was read %d times where it holds no data", n)
			}
		})
	}
}

func TestZerosNeverReachTheImage(t *testing.T) {
	img := &striped{size: 1 << 40, cluster: 1 << 20, pattern: "zu"}
	d := openStriped(t, img, Config{})
	p := make([]byte, 8<<20)
	for off := int64(0); off < 1<<30; off += int64(len(p)) {
		if _, err := d.ReadAt(t.Context(), p, off); err != nil {
			t.Fatal(err)
		}
	}
	readAndCheck(t, d, img, 1<<40-10, 100)
	if n := img.reads.Load(); n != 0 {
		t.Errorf("%d reads of the image, want 0", n)
	}
}

func TestEachClusterIsDecodedOnce(t *testing.T) {
	img := &striped{size: 2 << 20, cluster: 64 * kib, pattern: "c"}
	d := openStriped(t, img, Config{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			p := make([]byte, 24*kib)
			for off := int64(0); off < img.size; off += int64(len(p)) {
				n, err := d.ReadAt(context.Background(), p, off)
				if err != nil && err != io.EOF {
					t.Error(err)
					return
				}
				if err := img.check(p[:n], off); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got, want := img.reads.Load(), img.size/img.cluster; got != want {
		t.Errorf("%d decodes of %d clusters", got, want)
	}
}

func TestFailedReadSaysWhereAndIsTriedAgain(t *testing.T) {
	bad := errors.New("bad sector")
	img := &striped{size: 1 << 20, cluster: 64 * kib, pattern: "cp"}
	failing := true
	img.fail = func(int64) error {
		if failing {
			return bad
		}
		return nil
	}
	d := openStriped(t, img, Config{Workers: -1})
	for _, off := range []int64{100, 64*kib + 100} {
		if _, err := d.ReadAt(t.Context(), make([]byte, 10), off); !errors.Is(err, bad) {
			t.Errorf("Read(off=%d): %v, want %v", off, err, bad)
		}
	}
	failing = false
	readAndCheck(t, d, img, 0, 1<<20)
}

// Sequential reads start decoding ahead. The gate shows the loads that run before the reader needs
// them.
func TestForwardReaderFindsItsClustersDecoded(t *testing.T) {
	img := &striped{size: 64 << 20, cluster: 256 * kib, pattern: "c"}
	d := openStriped(t, img, Config{Workers: 2})
	window := int64(aheadBytes) / img.cluster
	readAndCheck(t, d, img, 0, 256*kib)
	for n := int64(2); n < 2*window; n++ {
		readAndCheck(t, d, img, (n-1)*img.cluster, 256*kib)
		d.waitAhead()
		if got, want := img.reads.Load(), n+min(n, window); got != want {
			t.Fatalf("%d clusters decoded after %d reads, want %d: those, and as many ahead, but no more than a window", got, n, want)
		}
	}
}

// waitAhead waits until no worker runs, by taking all their tokens.
func (d *Disk) waitAhead() {
	for range cap(d.loader.workers) {
		d.loader.workers <- struct{}{}
	}
	for range cap(d.loader.workers) {
		<-d.loader.workers
	}
}

func TestRandomReadsDecodeNothingAhead(t *testing.T) {
	img := &striped{size: 64 << 20, cluster: 64 * kib, pattern: "c"}
	d := openStriped(t, img, Config{CacheSize: 16 << 20})
	rng := rand.New(rand.NewPCG(1, 2))
	seen := map[int64]bool{}
	for range 200 {
		off := rng.Int64N(img.size/(4*kib)) * 4 * kib
		seen[off/img.cluster] = true
		readAndCheck(t, d, img, off, 4*kib)
	}
	d.waitAhead()
	if got := img.reads.Load(); got > int64(len(seen)) { // the cache has room for all of them
		t.Errorf("%d decodes for %d clusters", got, len(seen))
	}
}

// The number of loads at once does not grow with the number of readers, nor does the memory beside
// the cache.
func TestLoadsAtOnceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const loads, readers = 3, 10
		img := &striped{size: 64 << 20, cluster: 64 * kib, pattern: "c", gate: make(chan struct{})}
		d := openStriped(t, img, Config{Loads: loads})
		var wg sync.WaitGroup
		for i := range int64(readers) {
			wg.Go(func() { readAndCheck(t, d, img, i*4<<20, kib) })
		}
		synctest.Wait()
		if got := img.reads.Load(); got != loads {
			t.Errorf("%d clusters are loaded at once, want %d", got, loads)
		}
		close(img.gate)
		wg.Wait()
		if got := img.reads.Load(); got != readers {
			t.Errorf("%d clusters were loaded, want %d", got, readers)
		}
	})
}

func TestFreshIsWhatThisReadDecoded(t *testing.T) {
	img := &striped{size: 1 << 20, cluster: 64 * kib, pattern: "c"}
	d := openStriped(t, img, Config{})
	scratch := make([]byte, 4*kib)
	for i, want := range []bool{true, false} {
		v, err := d.View(t.Context(), scratch, 70*kib)
		if err != nil {
			t.Fatal(err)
		}
		if (v.Fresh != nil) != want || (want && v.FreshOff != 64*kib) {
			t.Errorf("read %d: fresh %v at %d", i, v.Fresh != nil, v.FreshOff)
		}
		v.Release()
	}
}

func FuzzClusters(f *testing.F) {
	f.Add(int64(0), int64(0), uint8(0))
	f.Add(int64(5), int64(100), uint8(3))
	f.Add(int64(1)<<59, int64(1)<<20, uint8(16))
	f.Fuzz(func(t *testing.T, off, n int64, bits uint8) {
		size := int64(1) << (bits % 26)
		if off < 0 || n < 0 || off > 1<<60 || n > 1000*size {
			t.Skip("outside the contract")
		}
		at := off
		for p := range pieces(off, n, size) {
			if p.unit%size != 0 || p.unit+p.skip != at || p.n <= 0 || p.skip+p.n > size {
				t.Fatalf("pieces(%d, %d, %d): piece %+v at %d", off, n, size, p, at)
			}
			at += p.n
		}
		if at != off+n {
			t.Fatalf("pieces(%d, %d, %d) end at %d", off, n, size, at)
		}
	})
}
