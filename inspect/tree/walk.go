package tree

import (
	"bytes"
	"context"
	"io/fs"
	"slices"
)

// File is a file that Walk found.
type File struct {
	Path []byte // from the directory the walk began at, without a slash at its beginning; its own memory
	Name []byte // the end of Path
	Attr Attr
}

// Walk calls fn for every file below top, and for top itself, whose Path is empty. A directory
// comes before its entries, these in the directory's own order. Links are not followed.
//
// A file that cannot be read does not end the walk: fn gets the error with the file's path and as
// much of Attr as is known. A directory whose entries cannot be read comes a second time, with the
// error; a directory inside itself comes with ErrLoop. The walk ends with the first error that fn
// returns; fs.SkipDir leaves out the entries of a directory, fs.SkipAll ends the walk without an
// error.
func Walk(ctx context.Context, t Tree, top ID, fn func(f File, err error) error) error {
	w := &walker{ctx: ctx, tree: t, fn: fn}
	err := w.visit(File{Attr: Attr{ID: top, Mode: TypeDir}}, top)
	if err == fs.SkipAll || err == fs.SkipDir {
		return nil
	}
	return err
}

type walker struct {
	ctx  context.Context
	tree Tree
	fn   func(File, error) error
	dirs []ID // on the path to the directory being read
}

// batch is how many entries of a directory are held at once. They are visited after the directory
// was read that far, so that its pages are read one after another.
const batch = 1024

// found is an entry with its own memory.
type found struct {
	name   []byte
	id     ID
	kind   uint32
	cookie uint64
}

func (w *walker) visit(f File, id ID) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	a, err := w.tree.Stat(w.ctx, id)
	if err != nil {
		return skipped(w.fn(f, err))
	}
	f.Attr = a
	if err := w.fn(f, nil); err != nil || !a.IsDir() {
		return skipped(err)
	}
	switch {
	case slices.Contains(w.dirs, id):
		return skipped(w.fn(f, ErrLoop))
	case len(w.dirs) >= MaxDepth:
		return skipped(w.fn(f, over("directories on a path", len(w.dirs)+1, MaxDepth)))
	case len(f.Path) > MaxPath:
		return skipped(w.fn(f, over("bytes of a path", len(f.Path), MaxPath)))
	}
	w.dirs = append(w.dirs, id)
	defer func() { w.dirs = w.dirs[:len(w.dirs)-1] }()
	return skipped(w.entries(f, id))
}

// skipped translates SkipDir for the caller of visit.
func skipped(err error) error {
	if err == fs.SkipDir {
		return nil
	}
	return err
}

func (w *walker) entries(dir File, id ID) error {
	cookie, seen := uint64(0), 0
	for {
		list := make([]found, 0, 16)
		err := w.tree.ReadDir(w.ctx, id, cookie, func(e Entry) bool {
			list = append(list, found{bytes.Clone(e.Name), e.ID, e.Type, e.Cookie})
			return len(list) < batch
		})
		for _, e := range list {
			if !ValidName(e.name) {
				continue
			}
			f := File{Path: join(dir.Path, e.name), Name: e.name, Attr: Attr{ID: e.id, Mode: e.kind}}
			if err := w.visit(f, e.id); err != nil {
				return err
			}
		}
		if seen += len(list); seen > MaxEntries && err == nil {
			err = over("entries of a directory", seen, MaxEntries)
		}
		if err != nil {
			return w.fn(dir, err)
		}
		if len(list) < batch {
			return nil
		}
		cookie = list[len(list)-1].cookie
	}
}

func join(dir, name []byte) []byte {
	if len(dir) == 0 {
		return bytes.Clone(name)
	}
	return slices.Concat(dir, []byte("/"), name)
}
