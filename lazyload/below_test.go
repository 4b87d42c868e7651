package lazyload

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/storetest"
	"github.com/imsfs/imsfs/formats"
)

// newChanged returns a committed disk with some blocks that differ from the image's, and its bytes.
func newChanged(t *testing.T, img *striped, rng *rand.Rand) (*shelf, []byte) {
	t.Helper()
	s := newShelf(t, img)
	s.close()
	want := make([]byte, img.size)
	img.model(want, 0)
	for off := int64(0); off < img.size; off += blockstore.BlockSize {
		end := min(off+blockstore.BlockSize, img.size)
		if rng.IntN(3) > 0 {
			continue
		}
		copy(want[off:end], storetest.Block(rng.IntN(20)))
		if err := s.store.Save(t.Context(), 1, off, want[off:end]); err != nil {
			t.Fatal(err)
		}
	}
	s.openChanged()
	return s, want
}

func (s *shelf) openChanged() {
	s.loader = New(Config{Store: s.used})
	s.Disk = s.loader.OpenStored(Stored{Disk: 1, Size: s.img.size, Cluster: s.img.cluster, Image: s.opener, Changed: true})
}

func (s *shelf) same(want []byte, off, n int64) {
	s.t.Helper()
	n = min(n, int64(len(want))-off)
	p := make([]byte, n)
	if _, err := s.ReadAt(s.t.Context(), p, off); err != nil || !bytes.Equal(p, want[off:off+n]) {
		s.t.Fatalf("read of %d bytes at %#x: other bytes, or error %v", n, off, err)
	}
}

// TestAChangedDiskIsNotItsImage reads a committed disk in several ways, also while it is loaded.
func TestAChangedDiskIsNotItsImage(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 2))
			img := &striped{size: kind.size, cluster: kind.cluster, pattern: kind.pattern}
			s, want := newChanged(t, img, rng)
			for range 200 {
				s.same(want, rng.Int64N(img.size), 1+rng.Int64N(200*kib))
				if rng.IntN(50) == 0 {
					s.close()
					s.openChanged()
				}
			}
			pass := s.Pass(img.Info())
			got := make([]byte, img.size)
			for off := int64(0); off < img.size; {
				e, err := pass.Extent(t.Context(), off, img.size-off)
				if err != nil || e.Len <= 0 {
					t.Fatalf("extent at %#x: %+v, %v", off, e, err)
				}
				if e.State == formats.Data {
					if err := pass.ReadAt(t.Context(), got[off:e.End()], off); err != nil {
						t.Fatal(err)
					}
				}
				off = e.End()
			}
			if !bytes.Equal(got, want) {
				t.Error("a pass, by extents, gives other bytes")
			}
			if err := s.Load(t.Context(), 0, img.size, nil); err != nil || !s.complete() {
				t.Fatalf("load: %v", err)
			}
			digest, err := s.store.Digest(1)
			if flat, flatErr := blockstore.DigestPlain(t.Context(), storetest.Flat(want), nil); err != nil || digest != flat {
				t.Errorf("digest %s, want %s (%v, %v)", digest, flat, err, flatErr)
			}
			s.broken = errors.New("the source is gone")
			s.close()
			s.openChanged()
			s.same(want, 0, img.size)
		})
	}
}

// TestLostBlockComesBackOnlyAsItself: a lost block that the image has is loaded again. A lost
// changed block is an error, and the other blocks of its unit are not.
func TestLostBlockComesBackOnlyAsItself(t *testing.T) {
	for _, load := range []bool{false, true} {
		img := &striped{size: 2 << 20, cluster: 256 * kib, pattern: "c"}
		s := newShelf(t, img)
		want := make([]byte, img.size)
		img.model(want, 0)
		s.close()
		copy(want[128*kib:], storetest.Block(7))
		for _, at := range []int64{64 * kib, 128 * kib} { // the first is the image's, the second changed
			if err := s.store.Save(t.Context(), 1, at, want[at:][:blockstore.BlockSize]); err != nil {
				t.Fatal(err)
			}
			s.damage(at)
		}
		s.openChanged()
		if load { // Load finds both damaged by itself
			if err := s.Load(t.Context(), 0, img.size, nil); !errors.Is(err, errOther) {
				t.Errorf("load: %v", err)
			}
		}
		s.same(want, 64*kib, 64*kib)
		s.same(want, 0, 128*kib)
		s.same(want, 192*kib, img.size)
		for range 2 {
			if _, err := s.ReadAt(t.Context(), make([]byte, 10), 130*kib); !errors.Is(err, errOther) || !errors.Is(err, blockstore.ErrDamaged) {
				t.Errorf("a changed block that is lost: %v", err)
			}
		}
		var found []int64
		if err := s.Verify(t.Context(), nil, func(off int64, _ error) { found = append(found, off) }); err != nil || len(found) != 1 || found[0] != 128*kib {
			t.Errorf("verify: %d, %v", found, err)
		}
		if s.complete() {
			t.Error("it counts as complete")
		}
		if err := s.store.Save(t.Context(), 1, 128*kib, want[128*kib:][:blockstore.BlockSize]); err != nil {
			t.Fatal(err)
		}
		s.same(want, 0, img.size)
	}
}

// TestALostBlockOfAnotherSource: a lost block is not replaced by other bytes of the source, even if
// the disk was never changed.
func TestALostBlockOfAnotherSource(t *testing.T) {
	img := &striped{size: 1 << 20, cluster: 64 * kib, pattern: "pz"}
	s := newShelf(t, img)
	if err := s.Load(t.Context(), 0, img.size, nil); err != nil {
		t.Fatal(err)
	}
	s.damage(0)
	s.damage(128 * kib)
	if _, err := s.ReadAt(t.Context(), make([]byte, 10), 0); err != nil { // quarantines the block and loads it again
		t.Fatal(err)
	}
	img.pattern = "zp"
	if _, err := s.ReadAt(t.Context(), make([]byte, 10), 128*kib); !errors.Is(err, errOther) {
		t.Errorf("a block that is a hole by now: %v", err)
	}
	if err := s.Load(t.Context(), 0, img.size, nil); !errors.Is(err, errOther) {
		t.Errorf("load: %v", err)
	}
	readAndCheck(t, s.Disk, &striped{size: img.size, cluster: img.cluster, pattern: "pz"}, 0, 128*kib)
}
