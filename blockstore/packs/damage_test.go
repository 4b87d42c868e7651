package packs

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/blockstore/storetest"
)

// flip changes one bit of a pack file.
func flip(t testing.TB, s *subject, pack uint32, off int64) {
	t.Helper()
	f, err := os.OpenFile(s.files.path(pack), os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, off)
	must(t, err)
	b[0] ^= 1 << (off % 8)
	_, err = f.WriteAt(b, off)
	must(t, err)
}

// verify returns the damage that Verify finds.
func verify(t testing.TB, s *subject) (found []error) {
	t.Helper()
	must(t, s.Verify(t.Context(), nil, func(err error) { found = append(found, err) }))
	return found
}

// TestEveryByteOfARecord flips a bit in each byte of records of all shapes of slices: plain, zstd
// and zeros.
func TestEveryByteOfARecord(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine computes, so there is nothing for the race detector: tested without it, not -short")
	}
	s := openIn(t, t.TempDir(), Options{})
	must(t, s.Create(1, 3*blockstore.BlockSize, ""))
	must(t, s.Save(t.Context(), 1, 0, storetest.Blocks(3, 4, 5)))
	blocks := map[int][]byte{3: storetest.Block(3), 4: storetest.Block(4), 5: storetest.Block(5)}
	for number, plain := range blocks {
		id := blockstore.IDOf(plain)
		loc, err := s.find(id)
		must(t, err)
		step := max(1, loc.size()/300) // all bytes of a small record, all heads of a large one
		for at := int64(0); at < loc.size(); at += step {
			testFlip(t, s, number-3, plain, at)
		}
		for i := range loc.count {
			for at := range int64(sliceHead) {
				testFlip(t, s, number-3, plain, loc.slice(i)+at)
			}
		}
	}
	if st, err := s.Stats(); err != nil || st.Quarantined != 0 || st.Blocks != 3 {
		t.Errorf("when all is healed: %+v, %v", st, err)
	}
}

// testFlip damages the block's record at byte at. The damage must be found and healed.
func testFlip(t *testing.T, s *subject, block int, plain []byte, at int64) {
	t.Helper()
	id := blockstore.IDOf(plain)
	loc, err := s.find(id)
	must(t, err)
	flip(t, s, loc.pack, loc.off+at)

	p := make([]byte, blockstore.BlockSize)
	err = s.Read(t.Context(), id, p, 0)
	if err == nil && !bytes.Equal(p, plain) {
		t.Fatalf("byte %d of block %d is damaged: a read gives wrong bytes", at, block)
	}
	var damage *blockstore.DamagedError
	inSlices := at >= recordHead && at < loc.slice(loc.count)
	if errors.As(err, &damage) != inSlices {
		t.Fatalf("byte %d of block %d is damaged: a read says %v", at, block, err)
	}
	if damage != nil && (damage.ID != id || damage.Pack != loc.pack || damage.Off != loc.off) {
		t.Fatalf("damage is said to be at %+v, it is at %+v", damage, loc)
	}
	if at%2 == 0 { // found by a reader, or by verify
		must(t, s.Quarantine(t.Context(), id))
	} else if found := verify(t, s); len(found) != 1 || !errors.Is(found[0], blockstore.ErrDamaged) {
		t.Fatalf("byte %d of block %d is damaged: verify finds %v", at, block, found)
	}
	if err := s.Read(t.Context(), id, p, 0); !errors.Is(err, blockstore.ErrNotFound) {
		t.Fatalf("quarantined: Read says %v", err)
	}
	if e, err := s.Lookup(1, int64(block)); err != nil || e.State != blockstore.Lost {
		t.Fatalf("quarantined: Lookup says %v, %v", e, err)
	}
	if st, err := s.Status(1); err != nil || st.Loaded != 2 || st.Data != 2 {
		t.Fatalf("quarantined: Status says %+v, %v", st, err)
	}
	must(t, s.Save(t.Context(), 1, int64(block)*blockstore.BlockSize, plain))
	if err := s.Read(t.Context(), id, p, 0); err != nil || !bytes.Equal(p, plain) {
		t.Fatalf("saved again: wrong bytes, or %v", err)
	}
	if st, err := s.Status(1); err != nil || !st.Complete() {
		t.Fatalf("saved again: Status says %+v, %v", st, err)
	}
}

func TestQuarantineLeavesGoodBlocks(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{})
	must(t, s.Create(1, blockstore.BlockSize, ""))
	must(t, s.Save(t.Context(), 1, 0, storetest.Block(1)))
	must(t, s.Quarantine(t.Context(), blockstore.IDOf(storetest.Block(1))))
	must(t, s.Quarantine(t.Context(), blockstore.IDOf(storetest.Block(2))))
	if st, err := s.Status(1); err != nil || !st.Complete() {
		t.Errorf("%+v, %v", st, err)
	}
}

// TestQuarantineIsRemembered also heals a clone by saving to its origin.
func TestQuarantineIsRemembered(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{})
	must(t, s.Create(1, 2*blockstore.BlockSize, ""))
	must(t, s.Save(t.Context(), 1, 0, storetest.Blocks(1, 2)))
	must(t, s.Clone(1, 2, 2*blockstore.BlockSize, ""))
	id := blockstore.IDOf(storetest.Block(1))
	loc, err := s.find(id)
	must(t, err)
	flip(t, s, loc.pack, loc.off+loc.slice(1)+sliceHead)
	must(t, s.Quarantine(t.Context(), id))
	s = reopen(t, s)
	for disk := range uint64(2) {
		if e, err := s.Lookup(disk+1, 0); err != nil || e.State != blockstore.Lost {
			t.Errorf("disk %d, reopened: %v, %v", disk+1, e, err)
		}
	}
	must(t, s.Save(t.Context(), 1, 0, storetest.Block(1)))
	if st, err := s.Status(2); err != nil || !st.Complete() {
		t.Errorf("the clone: %+v, %v", st, err)
	}
}

func TestDamagedCopiesOfMapsAreRenewed(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{})
	must(t, s.Create(1, blockstore.BlockSize, ""))
	must(t, s.Save(t.Context(), 1, 0, storetest.Block(1)))
	var copies []indexed
	must(t, s.eachIndexed(func(e indexed) {
		if e.kind != blockKind {
			copies = append(copies, e)
		}
	}))
	if len(copies) != 2 {
		t.Fatalf("%d copies of maps, want a segment and a root", len(copies))
	}
	for _, e := range copies {
		flip(t, s, e.loc.pack, e.loc.off+e.loc.slice(0)+sliceHead)
	}
	if found := verify(t, s); len(found) != 2 {
		t.Errorf("verify finds %v", found)
	}
	if found := verify(t, s); len(found) != 0 {
		t.Errorf("verify again finds %v", found)
	}
	if _, err := s.Digest(1); err != nil {
		t.Error(err)
	}
}

func TestTruncatedPack(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{})
	must(t, s.Create(1, 4*blockstore.BlockSize, ""))
	must(t, s.Save(t.Context(), 1, 0, storetest.Blocks(4, 8, 12, 16)))
	loc, err := s.find(blockstore.IDOf(storetest.Block(12)))
	must(t, err)
	must(t, os.Truncate(s.files.path(loc.pack), loc.off+1000))
	s = reopen(t, s)
	if found := verify(t, s); len(found) != 4 { // two blocks, and the copies of the map behind them
		t.Errorf("verify finds %d: %v", len(found), found)
	}
	if st, err := s.Status(1); err != nil || st.Loaded != 2 {
		t.Errorf("%+v, %v: want 2 blocks", st, err)
	}
	must(t, s.Save(t.Context(), 1, 2*blockstore.BlockSize, storetest.Blocks(12, 16)))
	s = reopen(t, s)
	if found := verify(t, s); len(found) != 0 {
		t.Errorf("healed: verify finds %v", found)
	}
	if st, err := s.Status(1); err != nil || !st.Complete() {
		t.Errorf("healed: %+v, %v", st, err)
	}
}

func TestMissingPack(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{})
	must(t, s.Create(1, blockstore.BlockSize, ""))
	must(t, s.Save(t.Context(), 1, 0, storetest.Block(1)))
	must(t, os.Remove(s.files.path(1)))
	s = reopen(t, s)
	id := blockstore.IDOf(storetest.Block(1))
	if err := s.Read(t.Context(), id, make([]byte, 9), 0); !errors.Is(err, blockstore.ErrDamaged) {
		t.Errorf("Read: %v, want damage", err)
	}
	must(t, s.Quarantine(t.Context(), id))
	must(t, s.Save(t.Context(), 1, 0, storetest.Block(1)))
	must(t, s.Read(t.Context(), id, make([]byte, 9), 0))
}

func TestNewerPack(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{})
	must(t, s.Create(1, blockstore.BlockSize, ""))
	must(t, s.Save(t.Context(), 1, 0, storetest.Block(1)))
	path := s.files.path(1)
	s.close(t)
	b, err := os.ReadFile(path)
	must(t, err)
	b[8] = version + 1
	must(t, os.WriteFile(path, b, 0o600))
	db, err := kv.Open(s.dir, kv.Options{})
	must(t, err)
	defer db.Close()
	if _, err := Open(s.dir, db, Options{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Open of a store with a newer pack: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, b) {
		t.Errorf("the pack was changed, or %v", err)
	}
}
