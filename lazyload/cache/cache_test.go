package cache

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// stamped decodes clusters in which every word is the cluster's offset.
type stamped struct {
	calls atomic.Int64
	over  atomic.Int64 // loads that have ended
	fail  func(off int64) error
	gate  chan struct{} // if not nil, Decode waits for it
}

func (s *stamped) Decode(dst []byte, off int64) error {
	s.calls.Add(1)
	if s.gate != nil {
		<-s.gate
	}
	if s.fail != nil {
		if err := s.fail(off); err != nil {
			return err
		}
	}
	for i := 0; i+8 <= len(dst); i += 8 {
		binary.LittleEndian.PutUint64(dst[i:], uint64(off))
	}
	return nil
}

func (s *stamped) Done(int64, error) { s.over.Add(1) }

// loads is the number of loads at once in tests of other behaviour.
const loads = 4

func intact(b []byte, off int64) bool {
	for i := 0; i+8 <= len(b); i += 8 {
		if binary.LittleEndian.Uint64(b[i:]) != uint64(off) {
			return false
		}
	}
	return true
}

const kib = 1 << 10

func mustGet(t *testing.T, c *Cache, off int64, n int, d Decoder) *Buffer {
	t.Helper()
	b, _, err := c.Get(t.Context(), Key{1, off}, n, d)
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Bytes()) != n || !intact(b.Bytes(), off) {
		t.Fatalf("Get(%d) returned another cluster's bytes", off)
	}
	return b
}

func TestLeastRecentlyUsedGoesFirst(t *testing.T) {
	c, d := New(3*64*kib, loads), &stamped{}
	for _, off := range []int64{1, 2, 3, 1, 4} { // 4 pushes out 2
		mustGet(t, c, off, 64*kib, d).Release()
	}
	if n := d.calls.Load(); n != 4 {
		t.Fatalf("%d decodes, want 4", n)
	}
	for _, off := range []int64{1, 3, 4} {
		mustGet(t, c, off, 64*kib, d).Release()
	}
	if n := d.calls.Load(); n != 4 {
		t.Errorf("a cluster other than the least recently used was evicted")
	}
	mustGet(t, c, 2, 64*kib, d).Release()
	if n := d.calls.Load(); n != 5 {
		t.Errorf("the least recently used cluster was kept")
	}
	if s := c.Stats(); s.Used > s.Limit {
		t.Errorf("used %d of %d", s.Used, s.Limit)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestHeldBufferIsNeverRecycled(t *testing.T) {
	c, d := New(2*64*kib, loads), &stamped{}
	held := mustGet(t, c, 100, 64*kib, d)
	for off := range int64(50) {
		mustGet(t, c, off, 64*kib, d).Release()
		if !intact(held.Bytes(), 100) {
			t.Fatalf("the held cluster was overwritten by cluster %d", off)
		}
	}
	held.Release()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestOneDecodeForManyReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, d := New(1<<20, loads), &stamped{gate: make(chan struct{})}
		var led atomic.Int64
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				b, l, err := c.Get(context.Background(), Key{1, 7}, 64*kib, d)
				if err != nil {
					t.Error(err)
					return
				}
				if l {
					led.Add(1)
				}
				if !intact(b.Bytes(), 7) {
					t.Error("wrong bytes")
				}
				b.Release()
			})
		}
		synctest.Wait()
		close(d.gate)
		wg.Wait()
		if d.calls.Load() != 1 || led.Load() != 1 {
			t.Errorf("%d decodes by %d leaders, want 1 by 1", d.calls.Load(), led.Load())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestFailureReachesAllAndIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := errors.New("bad sector")
		d := &stamped{gate: make(chan struct{}), fail: func(int64) error { return bad }}
		c := New(1<<20, loads)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, _, err := c.Get(context.Background(), Key{1, 7}, 64*kib, d); !errors.Is(err, bad) {
					t.Errorf("error %v, want %v", err, bad)
				}
			})
		}
		synctest.Wait()
		close(d.gate)
		wg.Wait()
		d.fail = nil
		mustGet(t, c, 7, 64*kib, d).Release()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestOneReadersEndDoesNotFailTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, d := New(1<<20, loads), &stamped{gate: make(chan struct{})}
		ctx, cancel := context.WithCancel(context.Background())
		first := make(chan error)
		go func() {
			_, _, err := c.Get(ctx, Key{1, 7}, 64*kib, d)
			first <- err
		}()
		synctest.Wait()
		second := make(chan error)
		go func() {
			b, led, err := c.Get(context.Background(), Key{1, 7}, 64*kib, d)
			if err == nil {
				if led {
					err = errors.New("the second reader decoded for itself")
				}
				b.Release()
			}
			second <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the cancelled reader got %v", err)
		}
		close(d.gate)
		if err := <-second; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if err := c.Close(); err != nil { // the cancelled reader's reference was taken back
			t.Error(err)
		}
	})
}

func TestPanicInDecoderIsThatClustersError(t *testing.T) {
	c := New(1<<20, loads)
	d := &stamped{fail: func(off int64) error {
		if off == 7 {
			panic("index out of range")
		}
		return nil
	}}
	if _, _, err := c.Get(t.Context(), Key{1, 7}, kib, d); err == nil || !strings.Contains(err.Error(), "index out of range") {
		t.Errorf("error %v", err)
	}
	mustGet(t, c, 8, kib, d).Release()
}

func TestAheadIsFoundByTheReader(t *testing.T) {
	c, d := New(1<<20, loads), &stamped{}
	if !c.Ahead(Key{1, 7}, kib, d) {
		t.Error("an absent cluster was not loaded")
	}
	if c.Ahead(Key{1, 7}, kib, d) {
		t.Error("a cluster that is there was loaded")
	}
	mustGet(t, c, 7, kib, d).Release()
	if d.calls.Load() != 1 {
		t.Errorf("%d decodes, want 1", d.calls.Load())
	}
}

func TestDropForgetsOneDisk(t *testing.T) {
	c, d := New(1<<20, loads), &stamped{}
	for disk := range uint64(2) {
		b, _, err := c.Get(t.Context(), Key{disk, 7}, kib, d)
		if err != nil {
			t.Fatal(err)
		}
		b.Release()
	}
	c.Drop(0)
	for disk, want := range []bool{true, false} {
		b, led, err := c.Get(t.Context(), Key{uint64(disk), 7}, kib, d)
		if err != nil || led != want {
			t.Errorf("disk %d: decoded again: %v, want %v (%v)", disk, led, want, err)
		}
		b.Release()
	}
}

// TestManyReadersWithinTheBound reads random clusters of three sizes on many goroutines. Their
// bytes must be right, and memory must stay within the bound plus the buffers that the goroutines
// hold.
func TestManyReadersWithinTheBound(t *testing.T) {
	const limit, readers = 128 * kib, 8
	sizes := []int{kib, 4 * kib, 16 * kib}
	c := New(limit, loads)
	d := &stamped{fail: func(off int64) error {
		if off%17 == 3 {
			return errors.New("planned")
		}
		return nil
	}}
	var wg sync.WaitGroup
	for seed := range uint64(readers) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 1))
			for range 3000 {
				off := rng.Int64N(200)
				n := sizes[off%3]
				b, _, err := c.Get(t.Context(), Key{1, off}, n, d)
				if (err != nil) != (off%17 == 3) {
					t.Errorf("cluster %d: %v", off, err)
					return
				}
				if err != nil {
					continue
				}
				if len(b.Bytes()) != n || !intact(b.Bytes(), off) {
					t.Errorf("cluster %d: wrong bytes", off)
				}
				b.Release()
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Used > limit+int64(sizes[2]) {
		t.Errorf("%d bytes mapped with nobody reading, the bound is %d", s.Used, limit)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestLoadsTakeTurns: loads that wait for their turn have no memory, however many there are.
func TestLoadsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const at, readers = 3, 20
		c, d := New(1<<20, at), &stamped{gate: make(chan struct{})}
		var wg sync.WaitGroup
		for off := range int64(readers) {
			wg.Go(func() { mustGet(t, c, off, kib, d).Release() })
		}
		synctest.Wait()
		if calls, used := d.calls.Load(), c.Stats().Used; calls != at || used != at*kib {
			t.Errorf("%d loads at once in %d bytes, want %d in %d", calls, used, at, at*kib)
		}
		close(d.gate)
		wg.Wait()
		synctest.Wait()
		if calls, over := d.calls.Load(), d.over.Load(); calls != readers || over != readers {
			t.Errorf("%d loads began and %d ended, want %d", calls, over, readers)
		}
	})
}

func TestReadingWhatIsThereAllocatesNothing(t *testing.T) {
	c, d := New(1<<20, loads), &stamped{}
	mustGet(t, c, 7, kib, d).Release()
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() {
		b, _, _ := c.Get(ctx, Key{1, 7}, kib, d)
		b.Release()
	}); n != 0 {
		t.Errorf("%v allocations a read, want 0", n)
	}
}
