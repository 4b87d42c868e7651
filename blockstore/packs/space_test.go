package packs

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/storetest"
)

// random returns n different blocks that do not compress.
func random(first, n int) []byte {
	var b []byte
	for i := range n {
		b = append(b, storetest.Block(4*(first+i+1))...)
	}
	return b
}

func stats(t testing.TB, s *subject) blockstore.Stats {
	t.Helper()
	st, err := s.Stats()
	must(t, err)
	return st
}

func TestSweepGivesSpaceBack(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{PackSize: 2 << 20})
	const blocks = 100
	for disk := range uint64(2) {
		must(t, s.Create(disk, blocks*blockstore.BlockSize, ""))
	}
	for i := range blocks { // the disks' blocks lie side by side
		must(t, s.Save(t.Context(), uint64(i%2), int64(i)*blockstore.BlockSize, random(i, 1)))
	}
	full := stats(t, s)
	must(t, s.Delete(0))
	freed, err := s.Sweep(t.Context())
	must(t, err)
	half := stats(t, s)
	if freed.Blocks != blocks/2 || half.Used > full.Used*55/100 {
		t.Errorf("half of the blocks swept: %+v, %d bytes of %d are still used", freed, half.Used, full.Used)
	}
	must(t, s.Evict(1))
	if _, err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := stats(t, s); left.Used > full.Used/20 || left.Blocks != 0 {
		t.Errorf("all swept: %+v of %+v", left, full)
	}
}

func TestCompactRemovesThinPacks(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{PackSize: 1 << 20})
	const blocks = 64
	must(t, s.Create(1, blocks*blockstore.BlockSize, ""))
	must(t, s.Create(2, blocks*blockstore.BlockSize, ""))
	for i := range blocks {
		must(t, s.Save(t.Context(), uint64(1+i%4/3), int64(i)*blockstore.BlockSize, random(i, 1)))
	}
	before, err := s.files.list()
	must(t, err)
	must(t, s.Delete(1))
	if _, err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	swept := stats(t, s)
	if _, err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := s.files.list()
	must(t, err)
	if len(after) > len(before)/2 {
		t.Errorf("%d packs, before %d", len(after), len(before))
	}
	if compact := stats(t, s); compact.Blocks != blocks/4 || compact.Used > swept.Used {
		t.Errorf("compacted: %+v, swept: %+v", compact, swept)
	}
	if found := verify(t, s); len(found) > 0 {
		t.Error(found)
	}
	s = reopen(t, s)
	if found := verify(t, s); len(found) > 0 {
		t.Error(found)
	}
}

func TestTrimEvictsWhatWasUsedLongestAgo(t *testing.T) {
	const limit = 24 << 20
	s := openIn(t, t.TempDir(), Options{Limit: limit, PackSize: 4 << 20})
	must(t, s.Create(1, 8*blockstore.SegmentSize, "")) // stays: it is not evictable
	must(t, s.Save(t.Context(), 1, 0, random(0, 50)))
	must(t, s.Create(2, 8*blockstore.SegmentSize, ""))
	must(t, s.SetEvictable(2, true))
	var err error
	seg := int64(0)
	for ; err == nil; seg++ {
		if seg == 8 {
			t.Fatalf("the limit of %d bytes lets all in: %+v", int64(limit), stats(t, s))
		}
		err = s.Save(t.Context(), 2, seg*blockstore.SegmentSize, random(int(100+50*seg), 50))
	}
	if !errors.Is(err, blockstore.ErrFull) || stats(t, s).Used > limit {
		t.Fatalf("beyond the limit: %v, %+v", err, stats(t, s))
	}
	if err := s.Save(t.Context(), 1, blockstore.SegmentSize, random(50, 1)); err != nil {
		t.Errorf("a disk that is not evictable: %v", err)
	}
	for _, used := range []int64{0, 2} { // so 1 is the oldest
		_, err := s.Lookup(2, used*blockstore.SegmentBlocks)
		must(t, err)
	}
	s = reopen(t, s) // the order is known after a restart, too
	if err := s.Save(t.Context(), 2, 7*blockstore.SegmentSize, random(600, 50)); !errors.Is(err, blockstore.ErrFull) {
		t.Errorf("beyond the limit: %v", err)
	}
	if freed, err := s.Trim(t.Context()); err != nil || freed.Blocks == 0 {
		t.Fatalf("Trim: %+v, %v", freed, err)
	}
	for seg, want := range map[int64]blockstore.State{0: blockstore.Data, 1: blockstore.Absent, 2: blockstore.Data} {
		if e, err := s.Lookup(2, seg*blockstore.SegmentBlocks); err != nil || e.State != want {
			t.Errorf("segment %d: state %d, %v, want %d", seg, e.State, err, want)
		}
	}
	if st, err := s.Status(1); err != nil || st.Loaded != 51 {
		t.Errorf("the disk that is not evictable: %+v, %v", st, err)
	}
	must(t, s.Save(t.Context(), 2, blockstore.SegmentSize, random(150, 20)))
	if found := verify(t, s); len(found) > 0 {
		t.Error(found)
	}
}

// TestTrimEnds raises the floor above the free space. Trim must evict every evictable block and
// end.
func TestTrimEnds(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{Limit: 8 << 20})
	must(t, s.Create(1, blockstore.SegmentSize, ""))
	must(t, s.SetEvictable(1, true))
	must(t, s.Save(t.Context(), 1, 0, random(0, 20)))
	s.Store.opts.FreeFloor = 1 << 60
	if err := s.Save(t.Context(), 1, 0, random(30, 1)); !errors.Is(err, blockstore.ErrFull) || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Save below the floor: %v", err)
	}
	if freed, err := s.Trim(t.Context()); err != nil || freed.Blocks != 20 {
		t.Errorf("Trim: %+v, %v", freed, err)
	}
	if st := stats(t, s); st.Blocks != 0 {
		t.Errorf("%+v is left", st)
	}
}
