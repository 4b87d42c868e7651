package packs

import (
	"errors"
	"testing"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/blockstore/storetest"
)

// subject is a store with its directory and database.
type subject struct {
	*Store
	dir string
	db  *kv.DB
}

// small are options that make many packs and a cache that forgets.
var small = Options{PackSize: 3 << 20, MapCache: 20 << 10, FreeFloor: 1 << 20, sweepBlocks: 20}

func openIn(t testing.TB, dir string, opts Options) *subject {
	t.Helper()
	db, err := kv.Open(dir, kv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, db, opts)
	if err != nil {
		t.Fatal(errors.Join(err, db.Close()))
	}
	sub := &subject{s, dir, db}
	t.Cleanup(func() { sub.close(t) })
	return sub
}

// close closes the store and its database if they are open.
func (s *subject) close(t testing.TB) {
	t.Helper()
	if s.db == nil {
		return
	}
	if err := errors.Join(s.Store.Close(), s.db.Close()); err != nil {
		t.Errorf("close: %v", err)
	}
	s.db = nil
}

func reopen(t testing.TB, s *subject) *subject {
	t.Helper()
	opts := s.opts
	s.close(t)
	return openIn(t, s.dir, opts)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	storetest.Run(t, storetest.Subject{
		Open:   func(t testing.TB) blockstore.Store { return openIn(t, t.TempDir(), small) },
		Reopen: func(t testing.TB, s blockstore.Store) blockstore.Store { return reopen(t, s.(*subject)) },
		Damage: func(t testing.TB, s blockstore.Store, id blockstore.ID) {
			sub := s.(*subject)
			loc, err := sub.find(id)
			must(t, err)
			for i := range loc.count {
				flip(t, sub, loc.pack, loc.off+loc.slice(i)+sliceHead)
			}
		},
	})
}
