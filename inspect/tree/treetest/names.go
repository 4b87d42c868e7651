package treetest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"testing"

	"github.com/imsfs/imsfs/inspect/tree"
)

// list reads a directory from a cookie on, at most limit entries.
func list(t *testing.T, tr tree.Tree, dir tree.ID, cookie uint64, limit int) []tree.Entry {
	t.Helper()
	var entries []tree.Entry
	err := tr.ReadDir(t.Context(), dir, cookie, func(e tree.Entry) bool {
		e.Name = bytes.Clone(e.Name)
		entries = append(entries, e)
		return len(entries) < limit
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) > limit {
		t.Fatalf("ReadDir went on after fn returned false: %d entries, %d wanted", len(entries), limit)
	}
	return entries
}

// cookies reads directories in pieces of several sizes.
func cookies(t *testing.T, tr tree.Tree, files []tree.File) {
	for _, f := range files {
		if !f.Attr.IsDir() {
			continue
		}
		whole := list(t, tr, f.Attr.ID, 0, 1<<30)
		for _, piece := range []int{1, 3, 64} {
			cookie, at := uint64(0), 0
			for step := 0; ; step++ {
				entries := list(t, tr, f.Attr.ID, cookie, piece)
				for _, e := range entries {
					if at >= len(whole) || !sameEntry(e, whole[at]) {
						t.Fatalf("%q: in pieces of %d, entry %d of %d is %+v", f.Path, piece, at, len(whole), e)
					}
					at++
				}
				if len(entries) < piece {
					break
				}
				if cookie = entries[len(entries)-1].Cookie; cookie == 0 {
					t.Fatalf("%q: %q has cookie 0", f.Path, entries[len(entries)-1].Name)
				}
			}
			if at != len(whole) {
				t.Errorf("%q: in pieces of %d there are %d entries of %d", f.Path, piece, at, len(whole))
			}
		}
	}
}

func sameEntry(a, b tree.Entry) bool {
	return bytes.Equal(a.Name, b.Name) && a.ID == b.ID && a.Type == b.Type && a.Cookie == b.Cookie
}

// lookups finds every entry by its name, and no name that is not there.
func lookups(t *testing.T, tr tree.Tree, files []tree.File) {
	for _, f := range files {
		if !f.Attr.IsDir() {
			continue
		}
		for _, e := range list(t, tr, f.Attr.ID, 0, 1<<30) {
			id, err := tree.Lookup(t.Context(), tr, f.Attr.ID, e.Name)
			if err != nil || id != e.ID {
				t.Errorf("%q in %q is %d, %v; ReadDir has %d", e.Name, f.Path, id, err, e.ID)
				continue
			}
			a, err := tr.Stat(t.Context(), id)
			if err != nil || a.ID != id || e.Type != tree.TypeUnknown && a.Type() != e.Type {
				t.Errorf("%q in %q: Stat has %+v, %v; ReadDir %+v", e.Name, f.Path, a, err, e)
			}
		}
		for _, name := range []string{"not there", "..", ".", "", "\xff", "a/b", "a\x00", string(make([]byte, 300))} {
			if id, err := tree.Lookup(t.Context(), tr, f.Attr.ID, []byte(name)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%q in %q: %d, %v", name, f.Path, id, err)
			}
		}
	}
}

// wrongTypes calls methods for files that they are not for.
func wrongTypes(t *testing.T, tr tree.Tree, files []tree.File) {
	for _, f := range files {
		id, kind := f.Attr.ID, f.Attr.Type()
		if kind != tree.TypeDir {
			err := tr.ReadDir(t.Context(), id, 0, func(tree.Entry) bool { return true })
			if !errors.Is(err, tree.ErrNotDir) {
				t.Errorf("%q is not a directory, ReadDir: %v", f.Path, err)
			}
		}
		if kind != tree.TypeLink {
			if _, err := tree.Readlink(t.Context(), tr, id); !errors.Is(err, tree.ErrNotLink) {
				t.Errorf("%q is not a link, Readlink: %v", f.Path, err)
			}
		}
		want := tree.ErrNotFile
		switch kind {
		case tree.TypeFile:
			want = io.EOF
		case tree.TypeDir:
			want = tree.ErrIsDir
		}
		if n, err := tr.ReadAt(t.Context(), id, make([]byte, 1), f.Attr.Size); n != 0 || !errors.Is(err, want) {
			t.Errorf("%q, reading at its end: %d, %v; want %v", f.Path, n, err, want)
		}
	}
}
