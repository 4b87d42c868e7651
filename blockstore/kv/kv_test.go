package kv

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func mustOpen(t testing.TB, dir string) *DB {
	t.Helper()
	db, err := Open(dir, Options{})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return db
}

func mustClose(t testing.TB, db *DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func set(t testing.TB, db *DB, key, value string) {
	t.Helper()
	if err := db.Update(func(tx *WriteTx) error { return tx.Set([]byte(key), []byte(value)) }); err != nil {
		t.Fatalf("Set(%q): %v", key, err)
	}
}

// dump returns "key=value" for all entries under prefix, in order.
func dump(t testing.TB, db *DB, prefix string) []string {
	t.Helper()
	var all []string
	err := db.View(func(tx *Tx) error {
		for e, err := range tx.Prefix([]byte(prefix)) {
			if err != nil {
				return err
			}
			all = append(all, string(e.Key)+"="+string(e.Value))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Prefix(%q): %v", prefix, err)
	}
	return all
}

func TestRecordsSurviveReopening(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	for _, kv := range []string{"b/2", "a/1", "b/10", "c/1", "b/1"} {
		set(t, db, kv, "v"+kv)
	}
	set(t, db, "b/2", "changed")
	if err := db.Update(func(tx *WriteTx) error { return tx.Delete([]byte("b/10")) }); err != nil {
		t.Fatal(err)
	}
	want := []string{"b/1=vb/1", "b/2=changed"}
	if got := dump(t, db, "b/"); !slices.Equal(got, want) {
		t.Errorf("before closing: %q, want %q", got, want)
	}
	mustClose(t, db)

	db = mustOpen(t, dir)
	defer mustClose(t, db)
	if got := dump(t, db, "b/"); !slices.Equal(got, want) {
		t.Errorf("after reopening: %q, want %q", got, want)
	}
}

func TestFailedUpdateChangesNothing(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	defer mustClose(t, db)
	set(t, db, "k", "old")
	boom := errors.New("boom")
	err := db.Update(func(tx *WriteTx) error {
		if err := tx.Set([]byte("k"), []byte("new")); err != nil {
			return err
		}
		if v, err := tx.Get([]byte("k")); err != nil || string(v) != "new" {
			t.Errorf("the transaction reads %q, %v of its own write", v, err)
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("Update = %v, want %v", err, boom)
	}
	if got := dump(t, db, ""); !slices.Equal(got, []string{"k=old"}) {
		t.Errorf("store has %q", got)
	}
}

func TestErrors(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	err := db.View(func(tx *Tx) error { _, err := tx.Get([]byte("nope")); return err })
	if !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("Get of a missing key = %v", err)
	}
	err = db.Update(func(tx *WriteTx) error { return tx.Set([]byte("big"), make([]byte, MaxValue+1)) })
	if !errors.Is(err, iofs.ErrInvalid) {
		t.Errorf("Set of a too large value = %v", err)
	}
	if err := db.Update(func(tx *WriteTx) error { return tx.Set([]byte("big"), make([]byte, MaxValue)) }); err != nil {
		t.Errorf("Set of the largest value = %v", err)
	}
	mustClose(t, db)
	if err := db.Update(func(*WriteTx) error { return nil }); !errors.Is(err, iofs.ErrClosed) {
		t.Errorf("Update after Close = %v", err)
	}
	if err := db.View(func(*Tx) error { return nil }); !errors.Is(err, iofs.ErrClosed) {
		t.Errorf("View after Close = %v", err)
	}
}

// TestCloseOfADeletedStore checks that Close returns with an error.
func TestCloseOfADeletedStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	db := mustOpen(t, dir)
	set(t, db, "a", "1")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("Close = %v, want that the store does not exist", err)
	}
}

func TestConcurrentUpdatesAllCount(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	defer mustClose(t, db)
	set(t, db, "n", "")
	const writers, each = 8, 10
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				err := db.Update(func(tx *WriteTx) error {
					v, err := tx.Get([]byte("n"))
					if err != nil {
						return err
					}
					return tx.Set([]byte("n"), append(v, 'x'))
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got, want := dump(t, db, "n"), "n="+strings.Repeat("x", writers*each); got[0] != want {
		t.Errorf("%d increments, want %d", len(got[0])-2, writers*each)
	}
}

func TestSequence(t *testing.T) {
	dir := t.TempDir()
	var last uint64
	for range 3 {
		db := mustOpen(t, dir)
		s, err := db.Sequence([]byte("seq"))
		if err != nil {
			t.Fatal(err)
		}
		for range lot + lot/2 {
			n, err := s.Next()
			if err != nil || n != last+1 {
				t.Fatalf("Next = %d, %v after %d", n, err, last)
			}
			last = n
		}
		mustClose(t, db)
	}
}

func BenchmarkUpdate(b *testing.B) {
	db := mustOpen(b, b.TempDir())
	defer mustClose(b, db)
	value := []byte(strings.Repeat("v", 500))
	for i := range b.N {
		if err := db.Update(func(tx *WriteTx) error { return tx.Set(fmt.Appendf(nil, "image/%08d", i), value) }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	db := mustOpen(b, dir)
	value := strings.Repeat("v", 600)
	for i := range 1000 {
		set(b, db, fmt.Sprintf("image/%08d", i), value)
	}
	mustClose(b, db)
	for b.Loop() {
		db := mustOpen(b, dir)
		if n := len(dump(b, db, "image/")); n != 1000 {
			b.Fatalf("%d records", n)
		}
		b.StopTimer()
		mustClose(b, db)
		b.StartTimer()
	}
}

// TestViewsSeeWhatWasChangedBefore checks that a view has every change whose Update returned before
// it began, and no later one, with many readers and writers.
func TestViewsSeeWhatWasChangedBefore(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	defer mustClose(t, db)
	set(t, db, "n", "")
	length := func(tx *Tx) int {
		v, err := tx.Get([]byte("n"))
		if err != nil {
			t.Error(err)
		}
		return len(v)
	}
	const changes = 200
	var done atomic.Int64 // changes that were made
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for at := 0; at < changes; {
				least := int(done.Load())
				err := db.View(func(tx *Tx) error {
					at = length(tx)
					if at < least {
						t.Errorf("a view has %d changes, and %d were made before it", at, least)
					}
					for e, err := range tx.Prefix([]byte("n")) {
						if err != nil || len(e.Value) != at {
							t.Errorf("a view of %d changes has %d, %v", at, len(e.Value), err)
						}
					}
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	err := db.View(func(tx *Tx) error {
		for n := range changes {
			set(t, db, "n", strings.Repeat("x", n+1))
			done.Add(1)
		}
		if n := length(tx); n != 0 {
			t.Errorf("a view that began before all changes has %d", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	wg.Wait()
	if db.views.current != nil && db.views.current.readers != 0 {
		t.Errorf("%d views did not end", db.views.current.readers)
	}
}
