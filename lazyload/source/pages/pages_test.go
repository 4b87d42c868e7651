package pages

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imsfs/imsfs/lazyload/source"
)

// remote is an object in memory that counts requests.
type remote struct {
	content []byte
	before  func(ctx context.Context, r Request) error // called for each request, if not nil

	mu       sync.Mutex
	requests []Request
}

func (m *remote) Fetch(ctx context.Context, r Request) error {
	m.mu.Lock()
	m.requests = append(m.requests, r)
	m.mu.Unlock()
	if m.before != nil {
		if err := m.before(ctx, r); err != nil {
			return err
		}
	}
	off := r.Off
	for i, b := range r.Bufs {
		off += int64(copy(b, m.content[off:]))
		r.Done(i)
	}
	return ctx.Err()
}

// fetched returns how many requests there were, and their bytes.
func (m *remote) fetched() (requests int, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.requests {
		n += r.Len()
	}
	return len(m.requests), n
}

func newRemote(size int) *remote {
	m := &remote{content: make([]byte, size)}
	rng := rand.New(rand.NewPCG(1, 2))
	pattern := make([]byte, 100_003) // a prime, so that pages differ
	for i := range pattern {
		pattern[i] = byte(rng.Uint32())
	}
	for at := 0; at < size; {
		at += copy(m.content[at:], pattern)
	}
	return m
}

func (m *remote) open(t *testing.T, limit int64) *File {
	t.Helper()
	f := New(NewCache(limit), m, int64(len(m.content)))
	t.Cleanup(func() { f.Close() })
	return f
}

func (m *remote) check(t *testing.T, f *File, off, n int) {
	t.Helper()
	p := make([]byte, n)
	if err := f.ReadAt(t.Context(), p, int64(off)); err != nil {
		t.Fatalf("ReadAt(%d, %d): %v", off, n, err)
	}
	if !bytes.Equal(p, m.content[off:off+n]) {
		t.Fatalf("ReadAt(%d, %d): wrong bytes", off, n)
	}
}

func TestReadsAgainstFlatBytes(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 7))
		m := newRemote(3<<20 + rng.IntN(100_000))
		fail := errors.New("passing")
		var mu sync.Mutex
		m.before = func(context.Context, Request) error {
			mu.Lock()
			defer mu.Unlock()
			if rng.IntN(10) == 0 {
				return fail
			}
			return nil
		}
		f := m.open(t, 1<<20)
		var readers sync.WaitGroup
		for r := range uint64(4) {
			readers.Go(func() {
				rng := rand.New(rand.NewPCG(seed, r))
				for range 200 {
					off := rng.IntN(len(m.content))
					p := make([]byte, rng.IntN(min(300_000, len(m.content)-off)+1))
					err := f.ReadAt(t.Context(), p, int64(off))
					if err != nil && !errors.Is(err, fail) {
						t.Errorf("ReadAt: %v", err)
					}
					if err == nil && !bytes.Equal(p, m.content[off:off+len(p)]) {
						t.Errorf("seed %d: ReadAt(%d, %d): wrong bytes", seed, off, len(p))
					}
				}
			})
		}
		readers.Wait()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if c := f.cache; c.used != 0 || c.flying != 0 || c.order.Len() != 0 {
			t.Errorf("after Close %d bytes are used and %d in flight", c.used, c.flying)
		}
	}
}

func TestSequentialReaderMakesFewRequests(t *testing.T) {
	m := newRemote(64 << 20)
	f := m.open(t, 0)
	for off := 0; off < len(m.content); off += 128 << 10 {
		m.check(t, f, off, 128<<10)
	}
	requests, n := m.fetched()
	if requests > 64 || n > int64(len(m.content))*11/10 {
		t.Errorf("%d requests for %d MiB of 64: want at most one a MiB, and 1.1 times the bytes", requests, n>>20)
	}
}

func TestRandomReaderShrinksTheWindow(t *testing.T) {
	m := newRemote(256 << 20)
	f := m.open(t, 0)
	rng := rand.New(rand.NewPCG(3, 3))
	for range 200 {
		m.check(t, f, rng.IntN(len(m.content)/Size)*Size, 4096)
	}
	_, before := m.fetched()
	for range 50 {
		m.check(t, f, rng.IntN(len(m.content)/Size)*Size, 4096)
	}
	if _, after := m.fetched(); (after-before)/50 > 2*Size {
		t.Errorf("%d bytes a read of 4 KiB", (after-before)/50)
	}
}

func TestPageIsFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newRemote(Size)
		gate := make(chan struct{})
		m.before = func(context.Context, Request) error { <-gate; return nil }
		f := m.open(t, 0)
		var readers sync.WaitGroup
		for range 10 {
			readers.Go(func() { m.check(t, f, 0, 100) })
		}
		synctest.Wait()
		close(gate)
		readers.Wait()
		if n, _ := m.fetched(); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

func TestReadOfAnEndedContextEndsAndItsRequestGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newRemote(Size)
		gate := make(chan struct{})
		m.before = func(context.Context, Request) error { <-gate; return nil }
		f := m.open(t, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.ReadAt(ctx, make([]byte, 10), 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want context.DeadlineExceeded", err)
		}
		close(gate)
		m.check(t, f, 0, Size)
		if n, _ := m.fetched(); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

func TestDemandMakesABackgroundRequestUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newRemote(Size)
		m.before = func(ctx context.Context, r Request) error {
			if r.Class != source.Demand {
				<-r.Urgent // its slots are all taken
			}
			return nil
		}
		f := m.open(t, 0)
		var background sync.WaitGroup
		background.Go(func() {
			if err := f.ReadAt(source.WithClass(t.Context(), source.Hydrate), make([]byte, 10), 0); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		m.check(t, f, 0, 10)
		background.Wait()
	})
}

func TestFailureIsNotRemembered(t *testing.T) {
	m := newRemote(Size)
	fail := errors.New("passing")
	m.before = func(context.Context, Request) error { return fail }
	f := m.open(t, 0)
	if err := f.ReadAt(t.Context(), make([]byte, 10), 0); !errors.Is(err, fail) {
		t.Errorf("%v, want the error of the request", err)
	}
	m.before = nil
	m.check(t, f, 0, 10)
}

func TestPinnedPiecesNeedNoRequest(t *testing.T) {
	m := newRemote(10 * Size)
	tail := int64(len(m.content)) - 1000
	f := New(NewCache(0), m, int64(len(m.content)), Piece{0, m.content[:Size]}, Piece{tail, m.content[tail:]})
	defer f.Close()
	m.check(t, f, 100, 1000)
	m.check(t, f, len(m.content)-512, 512)
	if n, _ := m.fetched(); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
	if err := f.ReadAt(t.Context(), make([]byte, 2), int64(len(m.content))-1); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read past the end: %v, want io.ErrUnexpectedEOF", err)
	}
}
