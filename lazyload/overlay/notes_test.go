package overlay

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestNotes(t *testing.T) {
	dir, err := OpenDir(t.TempDir())
	must(t, err)
	must(t, dir.PutNote(10, []byte("ten, and more")))
	must(t, dir.PutNote(10, []byte("ten")))
	must(t, os.WriteFile(dir.file(9, newNoteSuffix), []byte("ni"), 0o600)) // what a kill leaves
	must(t, dir.Create(3, 4096, 4096))
	if notes, err := dir.Notes(); err != nil || !slices.Equal(notes, []uint64{9, 10}) {
		t.Errorf("notes %d, %v", notes, err)
	}
	if deltas, err := dir.List(); err != nil || !slices.Equal(deltas, []uint64{3}) {
		t.Errorf("deltas %d, %v", deltas, err)
	}
	if text, err := dir.Note(10); err != nil || string(text) != "ten" {
		t.Errorf("the note is %q, %v", text, err)
	}
	if text, err := dir.Note(9); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("a note that was not finished is %q, %v", text, err)
	}
	for range 2 {
		must(t, dir.RemoveNote(9))
		must(t, dir.RemoveNote(10))
	}
	if notes, err := dir.Notes(); err != nil || len(notes) != 0 {
		t.Errorf("notes %d, %v", notes, err)
	}
}

func TestSetAside(t *testing.T) {
	dir, err := OpenDir(filepath.Join(t.TempDir(), "deltas"))
	must(t, err)
	keep := func(n uint64) bool { return n < 5 }
	for round, want := range []string{dir.path + ".old-1", dir.path + ".old-2"} {
		for n := uint64(round + 3); n < 8; n++ {
			must(t, dir.Create(n, 4096, 4096))
			must(t, dir.PutNote(n, []byte("note")))
		}
		old, err := dir.SetAside(keep)
		if err != nil || old != want {
			t.Errorf("set aside in %q, %v", old, err)
		}
		for _, is := range []struct {
			dir  Dir
			want []uint64
		}{{dir, []uint64{3, 4}}, {Dir{want}, []uint64{5, 6, 7}}} {
			deltas, err := is.dir.List()
			notes, err2 := is.dir.Notes()
			if err := errors.Join(err, err2); err != nil || !slices.Equal(deltas, is.want) || !slices.Equal(notes, is.want) {
				t.Errorf("%s has the deltas %d and the notes %d, %v", is.dir.path, deltas, notes, err)
			}
		}
		must(t, dir.Remove(4))
		must(t, dir.RemoveNote(4))
	}
	if old, err := dir.SetAside(keep); err != nil || old != "" {
		t.Errorf("nothing is set aside in %q, %v", old, err)
	}
}
