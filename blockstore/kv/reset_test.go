package kv

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestReset(t *testing.T) {
	dir := filled(t)
	for _, breakIt := range []func() error{
		func() error { return nil },
		func() error { return os.RemoveAll(filepath.Join(dir, dbDir)) },
		func() error { return os.Truncate(filepath.Join(dir, dbDir, "MANIFEST"), 3) },
	} {
		if err := breakIt(); err != nil {
			t.Fatal(err)
		}
		old, err := Reset(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(old); old != "" && err != nil {
			t.Errorf("the old database: %v", err)
		}
		db := mustOpen(t, dir)
		if all := dump(t, db, ""); len(all) != 0 {
			t.Errorf("a reset store has %d records", len(all))
		}
		if _, err := Reset(dir, nil); !errors.Is(err, ErrInUse) {
			t.Errorf("reset of an open store: %v", err)
		}
		set(t, db, "k", "v")
		mustClose(t, db)
	}
	if _, err := Reset(t.TempDir(), nil); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("reset of what is no store: %v", err)
	}
}

// TestResetBegins checks that the new database has the records of begin from the first.
func TestResetBegins(t *testing.T) {
	dir := filled(t)
	if _, err := Reset(dir, func(tx *WriteTx) error { return tx.Set([]byte("begun"), nil) }); err != nil {
		t.Fatal(err)
	}
	db := mustOpen(t, dir)
	if all := dump(t, db, ""); len(all) != 1 {
		t.Errorf("a reset store has %q", all)
	}
	mustClose(t, db)
	broken := errors.New("broken")
	if _, err := Reset(dir, func(*WriteTx) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("a reset that cannot begin: %v", err)
	}
	db = mustOpen(t, dir)
	if all := dump(t, db, ""); len(all) != 1 {
		t.Errorf("a store that was not reset has %q", all)
	}
	mustClose(t, db)
}
