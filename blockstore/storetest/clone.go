package storetest

import (
	"errors"
	"testing"

	"github.com/imsfs/imsfs/blockstore"
)

// testCloneOfAnotherSize clones a disk with a block at each border to sizes around those borders.
func testCloneOfAnotherSize(t *testing.T, subject Subject) {
	s := subject.Open(t)
	const size = 2*blockstore.SegmentSize + 3*blockstore.BlockSize + 512
	plain := make([]byte, size)
	for _, at := range []int64{0, blockstore.SegmentSize - blockstore.BlockSize, blockstore.SegmentSize, 2*blockstore.SegmentSize + blockstore.BlockSize} {
		copy(plain[at:], Block(int(5+at%7)))
	}
	plain[size-1] = 1
	must(t, s.Create(1, size, ""))
	must(t, s.Save(t.Context(), 1, 0, plain))
	to := uint64(1)
	for _, n := range []int64{
		0, 512, blockstore.BlockSize - 512, blockstore.SegmentSize - blockstore.BlockSize, blockstore.SegmentSize, blockstore.SegmentSize + 512,
		2 * blockstore.SegmentSize, size - 512, size, size + 512, size + blockstore.BlockSize, 3*blockstore.SegmentSize + 512,
	} {
		to++
		must(t, s.Clone(1, to, n, ""))
		checkClone(t, s, to, n, plain)
	}
}

// checkClone compares a clone's map with the origin's, completes the clone and compares its digest.
func checkClone(t *testing.T, s blockstore.Store, disk uint64, size int64, origin []byte) {
	t.Helper()
	want := blockstore.Status{Size: size, Total: blockstore.Blocks(size)}
	for block := range want.Total {
		off, end := block*blockstore.BlockSize, min((block+1)*blockstore.BlockSize, size)
		e, err := s.Lookup(disk, block)
		must(t, err)
		var entry blockstore.Entry
		if old := int64(len(origin)); off < old && (end%blockstore.BlockSize == 0 || end >= old) {
			entry = blockstore.EntryOf(origin[off:min(end, old)])
			want.Loaded++
		}
		if entry.State == blockstore.Data {
			want.Data++
		}
		if e != entry {
			t.Fatalf("a clone of %d bytes: block %d is %v, want %v", size, block, e, entry)
		}
	}
	if st, err := s.Status(disk); err != nil || st != want {
		t.Fatalf("a clone of %d bytes: %+v, %v, want %+v", size, st, err, want)
	}
	_, err := s.Digest(disk)
	if complete := want.Loaded == want.Total; complete != (err == nil) || err != nil && !errors.Is(err, blockstore.ErrIncomplete) {
		t.Fatalf("a clone of %d bytes: digest: %v", size, err)
	}
	plain := make([]byte, size)
	copy(plain, origin)
	if from := blockstore.BlockSize * (int64(len(origin)) / blockstore.BlockSize); from < size {
		must(t, s.Zero(t.Context(), disk, from, size-from))
	}
	last := max(blockstore.Blocks(min(size, int64(len(origin))))-1, 0) * blockstore.BlockSize
	must(t, s.Save(t.Context(), disk, last, plain[last:min(last+blockstore.BlockSize, size)]))
	got, err := s.Digest(disk)
	must(t, err)
	if want, err := blockstore.DigestPlain(t.Context(), Flat(plain), nil); err != nil || got != want {
		t.Fatalf("a clone of %d bytes, completed: digest %s, want %s (%v)", size, got, want, err)
	}
}

// testLost damages a block that three disks have. All of them must know it by its ID and none may
// count it, until one saves it again.
func testLost(t *testing.T, subject Subject) {
	s := subject.Open(t)
	const size = 3 * blockstore.BlockSize
	must(t, s.Create(1, size, ""))
	must(t, s.Save(t.Context(), 1, 0, Blocks(1, 2, 0)))
	must(t, s.Clone(1, 2, size, ""))
	must(t, s.Create(3, size, ""))
	must(t, s.Save(t.Context(), 3, blockstore.BlockSize, Block(1)))
	id := blockstore.IDOf(Block(1))
	subject.Damage(t, s, id)
	if err := s.Read(t.Context(), id, make([]byte, blockstore.BlockSize), 0); !errors.Is(err, blockstore.ErrDamaged) {
		t.Fatalf("a read of a damaged block: %v", err)
	}
	if s.AnyLost() {
		t.Error("a block is lost before it was put into quarantine")
	}
	must(t, s.Quarantine(t.Context(), id))
	if !s.AnyLost() {
		t.Error("no block is lost")
	}
	if subject.Reopen != nil {
		s = subject.Reopen(t, s)
	}
	lost := func(disk uint64, block int64) {
		t.Helper()
		if e, err := s.Lookup(disk, block); err != nil || e != (blockstore.Entry{State: blockstore.Lost, ID: id}) {
			t.Errorf("disk %d, block %d: %v, %v, want it lost", disk, block, e, err)
		}
	}
	lost(1, 0)
	lost(2, 0)
	lost(3, 1)
	must(t, s.Clone(2, 4, size+5, ""))
	lost(4, 0)
	for disk, loaded := range map[uint64]int64{1: 2, 2: 2, 3: 0, 4: 2} {
		st, err := s.Status(disk)
		if err != nil || st.Loaded != loaded {
			t.Errorf("disk %d: %+v, %v, want %d blocks loaded", disk, st, err, loaded)
		}
		if _, err := s.Digest(disk); !errors.Is(err, blockstore.ErrIncomplete) {
			t.Errorf("disk %d: digest: %v", disk, err)
		}
	}
	must(t, s.Save(t.Context(), 3, blockstore.BlockSize, Block(1)))
	for _, disk := range []uint64{1, 2, 4} {
		if e, err := s.Lookup(disk, 0); err != nil || e.State != blockstore.Data || e.ID != id {
			t.Errorf("disk %d, saved again: %v, %v", disk, e, err)
		}
	}
	if _, err := s.Digest(2); err != nil {
		t.Error(err)
	}
}
