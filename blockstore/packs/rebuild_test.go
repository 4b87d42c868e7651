package packs

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/blockstore/storetest"
)

// loseDatabase closes a store, rebuilds its database from the packs and opens it again.
func loseDatabase(t testing.TB, s *subject) (*subject, Rebuilt) {
	t.Helper()
	opts := s.opts
	s.close(t)
	_, err := kv.Reset(s.dir, nil)
	must(t, err)
	db, err := kv.Open(s.dir, kv.Options{})
	must(t, err)
	found, err := Rebuild(t.Context(), s.dir, db, nil)
	must(t, errors.Join(err, db.Close()))
	return openIn(t, s.dir, opts), found
}

func TestRebuild(t *testing.T) {
	s := openIn(t, t.TempDir(), small)
	const size = 2*blockstore.SegmentSize + 5*blockstore.BlockSize
	must(t, s.Create(7, size, "disk seven"))
	must(t, s.Zero(t.Context(), 7, 0, size))
	must(t, s.Save(t.Context(), 7, 250*blockstore.BlockSize, storetest.Blocks(1, 2, 3, 4, 5, 6, 7, 8, 9)))
	must(t, s.Clone(7, 8, size, "disk seven"))
	must(t, s.Save(t.Context(), 8, 0, storetest.Block(10)))
	must(t, s.Create(9, size, "incomplete"))
	must(t, s.Save(t.Context(), 9, 0, storetest.Block(11)))
	for disk := uint64(10); disk < 12; disk++ {
		must(t, s.Clone(7, disk, size, ""))
	}
	must(t, s.Delete(10))
	must(t, s.Evict(11))
	digests := map[uint64]blockstore.Digest{}
	for disk := uint64(7); disk < 9; disk++ {
		var err error
		digests[disk], err = s.Digest(disk)
		must(t, err)
	}

	s, found := loseDatabase(t, s)
	want := []RebuiltDisk{{7, size, "disk seven", 0}, {8, size, "disk seven", 0}}
	if !slices.Equal(found.Disks, want) || found.Blocks != 11 {
		t.Errorf("found %+v, want 11 blocks and %+v", found, want)
	}
	for disk, digest := range digests {
		if got, err := s.Digest(disk); err != nil || got != digest {
			t.Errorf("digest of disk %d: %s, %v, before it was %s", disk, got, err, digest)
		}
	}
	if found := verify(t, s); len(found) > 0 {
		t.Error(found)
	}
	must(t, s.Save(t.Context(), 8, 0, storetest.Block(12)))
	if _, err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st, err := s.Stats(); err != nil || st.Blocks != 10 { // 10 and 11 are garbage by now
		t.Errorf("swept: %+v, %v", st, err)
	}
}

func TestRebuildLeavesOutDamage(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{})
	must(t, s.Create(1, 3*blockstore.BlockSize, ""))
	must(t, s.Save(t.Context(), 1, 0, storetest.Blocks(1, 2, 3)))
	id := blockstore.IDOf(storetest.Block(2))
	loc, err := s.find(id)
	must(t, err)
	flip(t, s, loc.pack, loc.off+5) // its length: the next record must be found all the same
	s, found := loseDatabase(t, s)
	if len(found.Disks) != 1 || found.Disks[0].Missing != 1 || found.Blocks != 2 {
		t.Fatalf("found %+v, want one disk with one block missing", found)
	}
	if e, err := s.Lookup(1, 1); err != nil || e.State != blockstore.Lost {
		t.Errorf("the damaged block: %v, %v", e, err)
	}
	must(t, s.Save(t.Context(), 1, blockstore.BlockSize, storetest.Block(2)))
	if _, err := s.Digest(1); err != nil {
		t.Error(err)
	}
}

func TestRebuildRefusesAnIndex(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{})
	must(t, s.Create(1, blockstore.BlockSize, ""))
	must(t, s.Save(t.Context(), 1, 0, storetest.Block(1)))
	if _, err := Rebuild(t.Context(), s.dir, s.db, nil); err == nil {
		t.Error("a store with an index is rebuilt")
	}
}

// FuzzScan scans arbitrary bytes. The scan must end, and find only consistent records.
func FuzzScan(f *testing.F) {
	enc := newEncoder(f)
	var good []byte
	for n := range 3 {
		record, _ := appendRecord(nil, enc, blockKind, name(blockstore.IDOf(storetest.Block(n+5))), storetest.Block(n + 5)[:40])
		good = append(good, record...)
	}
	f.Add(good)
	f.Add(append(make([]byte, 32), good...))
	f.Add(append(good[:50:50], good...))
	f.Fuzz(func(t *testing.T, b []byte) {
		at := int64(0)
		_, err := scan(memFile{bytes.NewReader(b)}, 1, 0, func(r found) (bool, error) {
			if r.loc.off < at || r.loc.end() > int64(len(b)) || !bytes.Equal(r.bytes, b[r.loc.off:r.loc.end()]) {
				t.Fatalf("a record at %d to %d of %d bytes, behind one that ends at %d", r.loc.off, r.loc.end(), len(b), at)
			}
			at = r.loc.end()
			return true, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// memFile is a file that can only be read.
type memFile struct{ *bytes.Reader }

func (memFile) WriteAt([]byte, int64) (int, error)      { return 0, errors.ErrUnsupported }
func (memFile) Close() error                            { return nil }
func (memFile) Sync() error                             { return nil }
func (memFile) Truncate(int64) error                    { return nil }
func (memFile) Punch(int64, int64) error                { return nil }
func (f memFile) Size() (length, used int64, err error) { return f.Reader.Size(), f.Reader.Size(), nil }

func newEncoder(t testing.TB) encoder {
	s, err := newStore(t.TempDir(), nil, Options{})
	must(t, err)
	return s.enc
}

// TestScanFindsAllRecords compares a scan with a simple one, over records with holes and garbage
// between them.
func TestScanFindsAllRecords(t *testing.T) {
	enc := newEncoder(t)
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	var b []byte
	var want []int64
	for n := range 200 {
		switch rnd.IntN(4) {
		case 0:
			b = append(b, make([]byte, align*rnd.IntN(200000/align))...)
		case 1:
			for range align * rnd.IntN(50) {
				b = append(b, byte(rnd.Uint32()))
			}
		}
		want = append(want, int64(len(b)))
		plain := storetest.Block(1 + n%20)
		b, _ = appendRecord(b, enc, blockKind, name(blockstore.IDOf(plain)), plain)
	}
	var got []int64
	_, err := scan(memFile{bytes.NewReader(b)}, 1, 0, func(r found) (bool, error) {
		got = append(got, r.loc.off)
		return true, nil
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("seed %d: %d records found, %d are there; %v", seed, len(got), len(want), err)
	}
}
