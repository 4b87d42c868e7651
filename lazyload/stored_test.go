package lazyload

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/mem"
	"github.com/imsfs/imsfs/blockstore/storetest"
	"github.com/imsfs/imsfs/formats"
)

// shelf is a disk in a store in memory, with its image.
type shelf struct {
	*Disk
	t      *testing.T
	img    *striped
	store  *mem.Store
	used   Store // the loader's store: store, or one with faults
	loader *Loader
	opened int   // how many times the image was opened
	broken error // the opener's error, nil while the source is there
}

func newShelf(t *testing.T, img *striped, faults ...storetest.Fault) *shelf {
	t.Helper()
	s := &shelf{t: t, img: img, store: mem.New(0)}
	s.used = s.store
	if len(faults) > 0 {
		s.used = storetest.NewFaulty(t, s.store, faults...)
	}
	if err := s.store.Create(1, img.size, ""); err != nil {
		t.Fatal(err)
	}
	s.open()
	t.Cleanup(func() {
		if s.Disk != nil {
			s.close()
		}
	})
	return s
}

func (s *shelf) open() {
	s.loader = New(Config{Store: s.used})
	s.Disk = s.loader.OpenStored(Stored{Disk: 1, Size: s.img.size, Cluster: s.img.cluster, Image: s.opener})
}

func (s *shelf) opener(context.Context) (formats.Image, error) {
	s.opened++
	if s.broken != nil {
		return nil, s.broken
	}
	return s.img, nil
}

// close closes the disk, which saves all loaded units.
func (s *shelf) close() {
	s.t.Helper()
	s.Disk.Close()
	if err := s.loader.Close(); err != nil {
		s.t.Error(err)
	}
	s.Disk = nil
}

func (s *shelf) reopen() {
	s.t.Helper()
	s.close()
	s.open()
}

func (s *shelf) complete() bool {
	s.t.Helper()
	st, err := s.store.Status(1)
	if err != nil {
		s.t.Fatal(err)
	}
	return st.Complete()
}

var kinds = map[string]*striped{
	"compressed, large clusters": {size: 9<<20 + 512, cluster: 1 << 20, pattern: "czccuc"},
	"compressed, small clusters": {size: 3<<20 + 100, cluster: 16 * kib, pattern: "ccpzuzcpucczzzzz"},
	"plain":                      {size: 4 << 20, cluster: 64 * kib, pattern: "pzp"},
}

func TestStoredReadsEqualTheModel(t *testing.T) {
	for name, img := range kinds {
		t.Run(name, func(t *testing.T) {
			img := &striped{size: img.size, cluster: img.cluster, pattern: img.pattern}
			s := newShelf(t, img)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 1))
			steps := 400
			if testing.Short() {
				steps = 100
			}
			for step := range steps {
				switch rng.IntN(40) {
				case 0:
					s.reopen()
				case 1:
					if err := s.store.Evict(1); err != nil {
						t.Fatal(err)
					}
				case 2:
					off := rng.Int64N(img.size)
					if err := s.Load(t.Context(), off, 1+rng.Int64N(img.size-off), nil); err != nil {
						t.Fatalf("step %d: %v", step, err)
					}
				case 3:
					if _, err := s.store.Sweep(t.Context()); err != nil {
						t.Fatal(err)
					}
				default:
					readAndCheck(t, s.Disk, img, rng.Int64N(img.size+1000), rng.IntN(300*kib))
				}
			}
		})
	}
}

func TestWhatWasReadComesFromTheStoreTheNextTime(t *testing.T) {
	for name, img := range kinds {
		t.Run(name, func(t *testing.T) {
			img := &striped{size: img.size, cluster: img.cluster, pattern: img.pattern}
			s := newShelf(t, img)
			readAndCheck(t, s.Disk, img, 0, int(img.size))
			if got := s.loader.SaveStats(); got.Skipped+got.Failures > 0 {
				t.Fatalf("%+v", got)
			}
			s.reopen()
			reads := img.reads.Load()
			readAndCheck(t, s.Disk, img, 0, int(img.size))
			if n := img.reads.Load() - reads; n > 0 {
				t.Errorf("%d reads of the image for what the store has", n)
			}
		})
	}
}

func TestALoadedDiskNeedsNoImage(t *testing.T) {
	for name, img := range kinds {
		t.Run(name, func(t *testing.T) {
			img := &striped{size: img.size, cluster: img.cluster, pattern: img.pattern}
			s := newShelf(t, img)
			var last Progress
			if err := s.Load(t.Context(), 0, img.size, func(p Progress) { last = p }); err != nil {
				t.Fatal(err)
			}
			if !s.complete() || last.Done != img.size || last.Total != img.size || last.Loaded == 0 {
				t.Fatalf("complete %v, progress %+v of %d bytes", s.complete(), last, img.size)
			}
			s.broken = errors.New("the source is gone")
			s.opened = 0
			s.reopen()
			readAndCheck(t, s.Disk, img, 0, int(img.size))
			for off := int64(0); off < img.size; {
				e, err := s.Extent(t.Context(), off, img.size-off)
				if err != nil || e.Len <= 0 {
					t.Fatalf("extent at %d: %+v, %v", off, e, err)
				}
				off = e.End()
			}
			if err := s.Load(t.Context(), 0, img.size, nil); err != nil || s.opened > 0 {
				t.Errorf("loading what is there: %v, and the image was opened %d times", err, s.opened)
			}
			digest, err := s.store.Digest(1)
			if err != nil {
				t.Fatal(err)
			}
			want, err := blockstore.DigestPlain(t.Context(), model{img}, nil)
			if err != nil || digest != want {
				t.Errorf("digest %s, want %s (%v)", digest, want, err)
			}
		})
	}
}

// model is a striped image as a blockstore.Plain.
type model struct{ *striped }

func (m model) Size() int64 { return m.size }

func (m model) ReadAt(_ context.Context, p []byte, off int64) error {
	m.striped.model(p, off)
	return nil
}

func (m model) Hole(context.Context, int64, int64) (int64, error) { return 0, nil }

func TestAFailedSaveFailsNoRead(t *testing.T) {
	full := errors.New("the disk is full")
	img := &striped{size: 1 << 20, cluster: 256 * kib, pattern: "c"}
	s := newShelf(t, img, storetest.Fault{Op: storetest.OpSave, Nth: 1, Err: full})
	readAndCheck(t, s.Disk, img, 0, 4096)
	if err := <-s.loader.SaveFailures(); !errors.Is(err, full) {
		t.Errorf("failure %v", err)
	}
	if got := s.loader.SaveStats(); got.Failures != 1 {
		t.Errorf("%+v", got)
	}
	s.reopen() // with an empty cache
	readAndCheck(t, s.Disk, img, 0, 4096)
	s.reopen()
	reads := img.reads.Load()
	readAndCheck(t, s.Disk, img, 0, 4096)
	if img.reads.Load() != reads {
		t.Error("it was not saved the second time either")
	}
}

func TestAFailedLookUpIsTold(t *testing.T) {
	bad := errors.New("bad index")
	img := &striped{size: 1 << 20, cluster: 256 * kib, pattern: "c"}
	s := newShelf(t, img, storetest.Fault{Op: storetest.OpLookup, Nth: 1, Err: bad})
	if _, err := s.ReadAt(t.Context(), make([]byte, 10), 0); !errors.Is(err, bad) {
		t.Errorf("read: %v", err)
	}
	readAndCheck(t, s.Disk, img, 0, 10)
}

// damage damages the block at off, which must be data in the store.
func (s *shelf) damage(off int64) {
	s.t.Helper()
	e, err := s.store.Lookup(1, off/blockstore.BlockSize)
	if err != nil || e.State != blockstore.Data {
		s.t.Fatalf("block at %d: %+v, %v", off, e, err)
	}
	s.store.Damage(e.ID)
}

func TestDamageIsLoadedAgain(t *testing.T) {
	img := &striped{size: 2 << 20, cluster: 256 * kib, pattern: "c"}
	s := newShelf(t, img)
	if err := s.Load(t.Context(), 0, img.size, nil); err != nil {
		t.Fatal(err)
	}
	s.damage(512 * kib)
	readAndCheck(t, s.Disk, img, 0, int(img.size)) // the reader gets the right bytes
	s.reopen()
	if !s.complete() {
		t.Error("what was loaded again was not saved")
	}
	s.damage(0)
	s.broken = errors.New("the source is gone")
	s.reopen()
	_, err := s.ReadAt(t.Context(), make([]byte, 10), 0)
	if !errors.Is(err, blockstore.ErrDamaged) || !errors.Is(err, s.broken) || strings.Contains(err.Error(), "\n\n") {
		t.Errorf("read of a damaged block without a source: %v", err)
	}
	if _, err := s.ReadAt(t.Context(), make([]byte, 10), 0); !errors.Is(err, s.broken) {
		t.Errorf("the second time: %v", err)
	}
	readAndCheck(t, s.Disk, img, 64*kib, 1<<20)
}

func TestVerifyFindsDamage(t *testing.T) {
	img := &striped{size: 33 << 20, cluster: 256 * kib, pattern: "ccz"}
	s := newShelf(t, img)
	if err := s.Load(t.Context(), 0, img.size, nil); err != nil {
		t.Fatal(err)
	}
	s.damage(64 * kib)
	s.damage(31 << 20)
	var last Progress
	found := map[int64]error{}
	err := s.Verify(t.Context(), func(p Progress) { last = p }, func(off int64, err error) { found[off] = err })
	if err != nil || len(found) != 2 || found[64*kib] == nil || found[31<<20] == nil || last.Done != img.size {
		t.Errorf("%v, %v, %+v", err, found, last)
	}
	if s.complete() {
		t.Error("the damaged blocks still count as there")
	}
}

func TestFailedLoadSaysWhere(t *testing.T) {
	bad := errors.New("bad sector")
	img := &striped{size: 8 << 20, cluster: 64 * kib, pattern: "p"}
	img.fail = func(off int64) error {
		if off == 4<<20 {
			return bad
		}
		return nil
	}
	s := newShelf(t, img)
	if err := s.Load(t.Context(), 0, img.size, nil); !errors.Is(err, bad) || !strings.Contains(err.Error(), "0x400000") {
		t.Errorf("load: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Load(ctx, 0, img.size, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled load: %v", err)
	}
	img.fail = nil
	if err := s.Load(t.Context(), 0, img.size, nil); err != nil || !s.complete() {
		t.Errorf("load again: %v", err)
	}
}

func TestLargeDisksOfZerosLoadAtOnce(t *testing.T) {
	img := &striped{size: 40 << 30, cluster: 1 << 20, pattern: "z"}
	s := newShelf(t, img)
	if err := s.Load(t.Context(), 0, img.size, nil); err != nil || !s.complete() || img.reads.Load() > 0 {
		t.Errorf("load: %v, complete %v, %d reads", err, s.complete(), img.reads.Load())
	}
	p := make([]byte, 4096)
	if _, err := s.ReadAt(t.Context(), p, 39<<30); err != nil || !bytes.Equal(p, make([]byte, 4096)) {
		t.Errorf("read: %v", err)
	}
}
