package chain

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/imsfs/imsfs/lazyload/source"
)

// way is how a name inside an image leads to a file.
type way struct {
	path string        // as it was named, absolute
	dirs []*source.Dir // which it may lead into
	at   place
}

// locate finds a file by the name that the image has for it. Nothing is opened but, to look for a name that may be
// followed, directories. The caller holds mu.
func (s *Source) locate(ctx context.Context, name string) (*way, error) {
	path, local, err := parseName(name)
	if err != nil {
		return nil, &refusal{err}
	}
	w := &way{path: path, dirs: s.allowed}
	rule := errAbsolute
	if !filepath.IsAbs(path) {
		rule = errClimbs
	}
	if !local && len(s.allowed) == 0 {
		return nil, &refusal{rule}
	}
	if !filepath.IsAbs(path) {
		own, err := s.directory(ctx)
		if err != nil {
			return nil, err
		}
		w.path = filepath.Join(own.Path(), path)
		if local {
			w.dirs = append([]*source.Dir{own}, s.allowed...)
		}
	}
	if _, ok := beneath(w.dirs, w.path); !ok {
		return nil, &refusal{rule}
	}
	w.at, err = find(w.dirs, w.path)
	return w, err
}

// directory is the one that the image is in; the caller holds mu.
func (s *Source) directory(ctx context.Context) (*source.Dir, error) {
	if s.own == nil {
		dir, err := s.findDir(ctx)
		if err != nil {
			return nil, err
		}
		s.own = dir
		s.closers = append(s.closers, dir)
	}
	return s.own, nil
}

func (w *way) open(ctx context.Context) (*source.File, error) {
	f, err := w.at.dir.Open(ctx, w.at.name)
	return f, onlyFiles(err)
}

// regular is what open would say of anything but a regular file, or of nothing.
func (w *way) regular() error { return onlyFiles(w.at.dir.Regular(w.at.name)) }

func onlyFiles(err error) error {
	if errors.Is(err, source.ErrNotRegular) {
		return &refusal{err}
	}
	return err
}

// parent opens the directory that the name has the file in: where a link leads does not matter, which is how QEMU has it.
func (w *way) parent(ctx context.Context) (*source.Dir, error) {
	at, err := find(w.dirs, filepath.Dir(w.path))
	if err != nil {
		return nil, err
	}
	return at.dir.OpenDir(ctx, at.name)
}
