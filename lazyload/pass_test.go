package lazyload

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/formats"
)

// model fills p with the disk's bytes at off.
func (s *shelf) model(off, n int64) []byte {
	s.t.Helper()
	want := make([]byte, n)
	if err := s.img.ReadAt(s.t.Context(), want, off); err != nil {
		s.t.Fatal(err)
	}
	return want
}

// TestPassEqualsTheModel: a pass reads the image's bytes, whichever blocks are in the store, and
// keeps none.
func TestPassEqualsTheModel(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 3))
		s := newShelf(t, &striped{size: 2<<20 + 512, cluster: 128 << 10, pattern: "cpzcu"})
		for off := int64(0); off < s.img.size; off += blockstore.BlockSize {
			if uint64(rng.IntN(4)) <= seed {
				if err := s.store.Save(t.Context(), 1, off, s.model(off, min(blockstore.BlockSize, s.img.size-off))); err != nil {
					t.Fatal(err)
				}
			}
		}
		before, err := s.store.Status(1)
		if err != nil {
			t.Fatal(err)
		}
		pass := s.Pass(formats.Info{ClusterSize: s.img.cluster})
		for range 12 {
			off := rng.Int64N(s.img.size)
			p := bytes.Repeat([]byte{0xee}, 1+rng.IntN(int(min(1<<20, s.img.size-off))))
			if err := pass.ReadAt(t.Context(), p, off); err != nil || !bytes.Equal(p, s.model(off, int64(len(p)))) {
				t.Fatalf("seed %d: ReadAt(%d bytes at %d): %v, or other bytes", seed, len(p), off, err)
			}
		}
		if after, err := s.store.Status(1); err != nil || after != before {
			t.Errorf("seed %d: the store had %+v, has %+v, %v", seed, before, after, err)
		}
		if used := s.loader.Stats().Loads; used != 0 {
			t.Errorf("seed %d: %d units were loaded into the cache", seed, used)
		}
		if info := pass.Info(); info.Size != s.img.size {
			t.Errorf("Info says %d bytes", info.Size)
		}
	}
}

func TestPassReadsDamageFromTheImage(t *testing.T) {
	s := newShelf(t, &striped{size: 1 << 20, cluster: 64 << 10, pattern: "cpzcu"})
	if err := s.store.Save(t.Context(), 1, 0, s.model(0, 1<<20)); err != nil {
		t.Fatal(err)
	}
	e, err := s.store.Lookup(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.store.Damage(e.ID)
	pass, p := s.Pass(formats.Info{}), make([]byte, 1<<20)
	if err := pass.ReadAt(t.Context(), p, 0); err != nil || !bytes.Equal(p, s.model(0, 1<<20)) {
		t.Errorf("ReadAt = %v, or other bytes", err)
	}
	s.reopen()
	if err := s.store.Save(t.Context(), 1, 0, s.model(0, 1<<20)); err != nil {
		t.Fatal(err)
	}
	s.store.Damage(e.ID)
	s.broken = errors.New("the source is gone")
	if err := s.Pass(formats.Info{}).ReadAt(t.Context(), p, 0); !errors.Is(err, blockstore.ErrDamaged) || !errors.Is(err, s.broken) {
		t.Errorf("ReadAt of damage without a source = %v", err)
	}
}

// TestPassGivesWay: a reader's load makes the pass's next read wait once, and later reads wait for
// that one.
func TestPassGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{})
		defer l.Close()
		d := l.Open(&striped{size: 1 << 20, cluster: 64 << 10, pattern: "cpzcu"})
		defer d.Close()
		pass := d.Pass(formats.Info{})
		timed := func(want time.Duration) {
			t.Helper()
			begun := time.Now()
			if err := pass.ReadAt(t.Context(), make([]byte, 4096), 0); err != nil || time.Since(begun) != want {
				t.Errorf("a read took %v, %v, want %v", time.Since(begun), err, want)
			}
		}
		timed(0)
		l.saver.demand.Add(3)
		go timed(pause)
		synctest.Wait()
		timed(pause)
		timed(0)
		l.saver.demand.Add(1)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(pause/2, cancel)
		if err := pass.ReadAt(ctx, make([]byte, 4096), 0); !errors.Is(err, context.Canceled) {
			t.Errorf("a read that was ended while it waited: %v", err)
		}
	})
}
