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
		old, err := Reset(dir)
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
		if _, err := Reset(dir); !errors.Is(err, ErrInUse) {
			t.Errorf("reset of an open store: %v", err)
		}
		set(t, db, "k", "v")
		mustClose(t, db)
	}
	if _, err := Reset(t.TempDir()); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("reset of what is no store: %v", err)
	}
}
