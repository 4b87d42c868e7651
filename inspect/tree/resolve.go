package tree

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"slices"
)

// Resolve returns the file that a path names, from the directory top on. The path is resolved as by
// a process whose root directory is top: a slash at its beginning changes nothing, ".." stops at
// top, and absolute links start there. No path leaves top. Unless follow is true, a link in the
// last place is returned itself.
func Resolve(ctx context.Context, t Tree, top ID, path []byte, follow bool) (ID, error) {
	w := &way{tree: t, dirs: []ID{top}}
	if err := w.walk(ctx, path, follow); err != nil {
		return 0, fmt.Errorf("%q: %w", path, err)
	}
	return w.at(), nil
}

// way is a path being resolved.
type way struct {
	tree     Tree
	dirs     []ID   // from the top down to the file reached
	rest     []byte // not yet walked
	followed int    // links
}

func (w *way) at() ID { return w.dirs[len(w.dirs)-1] }

func (w *way) walk(ctx context.Context, path []byte, follow bool) error {
	if len(path) > MaxPath {
		return over("bytes of a path", len(path), MaxPath)
	}
	w.rest = path
	for {
		w.rest = bytes.TrimLeft(w.rest, "/")
		if len(w.rest) == 0 {
			return nil
		}
		name, more := w.rest, false
		if i := bytes.IndexByte(w.rest, '/'); i >= 0 {
			name, more = w.rest[:i], true
		}
		w.rest = w.rest[len(name):] // with its slash, so that a link in this place must be a directory
		if err := w.step(ctx, name, more || follow); err != nil {
			return err
		}
		if more { // "file/" and "file/." name a directory
			if err := w.requireDir(ctx); err != nil {
				return err
			}
		}
	}
}

func (w *way) requireDir(ctx context.Context) error {
	a, err := w.tree.Stat(ctx, w.at())
	if err == nil && !a.IsDir() {
		return ErrNotDir
	}
	return err
}

// step goes to a name in the directory reached.
func (w *way) step(ctx context.Context, name []byte, follow bool) error {
	switch string(name) {
	case ".":
		return nil
	case "..":
		w.dirs = w.dirs[:max(1, len(w.dirs)-1)]
		return nil
	}
	id, err := Lookup(ctx, w.tree, w.at(), name)
	if err != nil {
		return err
	}
	if follow {
		a, err := w.tree.Stat(ctx, id)
		if err != nil {
			return err
		}
		if a.Type() == TypeLink {
			return w.follow(ctx, id)
		}
	}
	if len(w.dirs) > MaxDepth {
		return over("directories on a path", len(w.dirs), MaxDepth)
	}
	w.dirs = append(w.dirs, id)
	return nil
}

// follow puts a link's target before the rest of the path.
func (w *way) follow(ctx context.Context, link ID) error {
	w.followed++
	if w.followed > MaxFollowed {
		return ErrLoop
	}
	target, err := Readlink(ctx, w.tree, link)
	if err != nil {
		return err
	}
	if len(target) == 0 {
		return fs.ErrNotExist
	}
	if target[0] == '/' {
		w.dirs = w.dirs[:1]
	}
	w.rest = slices.Concat(target, w.rest)
	return nil
}
