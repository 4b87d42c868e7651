package chain

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"path/filepath"
	"slices"
	"sync"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/rawmap"
	"github.com/imsfs/imsfs/lazyload/source"
)

// MaxFiles is how many files an image may consist of beside its own: a VMDK of 2 TiB in extents of 2 GiB.
const MaxFiles = 1024

var (
	_ formats.Source = (*Source)(nil)
	_ formats.Sparse = (*Source)(nil)
	_ formats.Files  = (*Source)(nil)
)

// Source is an image file, and the way to the files that it names.
type Source struct {
	*source.File
	path    string
	allowed []*source.Dir
	findDir func(context.Context) (*source.Dir, error) // opens the image's own directory
	holes   *rawmap.Map                                // nil: there is none that is used; see findMap
	mapNote string

	mu      sync.Mutex // guards the following
	own     *source.Dir
	parts   map[string]*source.File // by the names that the image has for them
	names   []string                // of the parts, in the order in which they were opened
	closers []io.Closer
}

// File is one of the files that an image is read from. It can be kept as JSON.
type File struct {
	Path     string          `json:"path"` // as it was named: a link's own path
	Identity source.Identity `json:"identity"`
	Space    int64           `json:"-"` // bytes that it occupies
}

// Unchanged returns nil if the file at the path is still the one that it was (source.ErrChanged).
func (f File) Unchanged(ctx context.Context) error {
	now, err := source.Identify(ctx, f.Path)
	if err != nil {
		return err
	}
	return f.Identity.Changed(f.Path, now)
}

// OpenSource opens an image file, and allows that files it names are in one of the directories allow, besides its own.
func OpenSource(ctx context.Context, path string, allow []string) (_ *Source, err error) {
	s := &Source{path: path}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.File, err = source.Open(ctx, path); err != nil {
		return nil, err
	}
	s.closers = append(s.closers, s.File)
	for _, path := range allow {
		if !filepath.IsAbs(path) {
			return nil, fmt.Errorf("the allowed directory %q is relative: its path must be absolute", path)
		}
		dir, err := source.OpenDir(ctx, path)
		if err != nil {
			return nil, fmt.Errorf("allowed directory: %w", err)
		}
		s.closers = append(s.closers, dir)
		s.allowed = append(s.allowed, dir)
	}
	s.findDir = func(ctx context.Context) (*source.Dir, error) { return source.OpenDir(ctx, filepath.Dir(path)) }
	return s, nil
}

// Open implements formats.Files. The same name is the same source, and Close closes it.
func (s *Source) Open(ctx context.Context, name string) (formats.Source, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if part := s.parts[name]; part != nil {
		return part, nil
	}
	if len(s.parts) == MaxFiles {
		return nil, refuse("file %q: the image consists of more than %d files", name, MaxFiles)
	}
	way, err := s.locate(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("file %q: %w", name, err)
	}
	part, err := way.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("file %q: %w", name, err)
	}
	if s.parts == nil {
		s.parts = map[string]*source.File{}
	}
	s.parts[name] = part
	s.names = append(s.names, name)
	s.closers = append(s.closers, part)
	return part, nil
}

// Path is the file's path, as it was named.
func (s *Source) Path() string { return s.path }

// Locate returns the path of the file that a name in the image leads to, or why it is not followed. The file itself is not
// opened.
func (s *Source) Locate(ctx context.Context, name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, err := s.locate(ctx, name)
	if err != nil {
		return "", err
	}
	return s.beside(name), w.regular()
}

// Files lists the image's own file and those that it consists of beside it.
func (s *Source) Files() []File {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []File{{s.path, s.Identity(), s.Space()}}
	for _, name := range s.names {
		list = append(list, File{s.beside(name), s.parts[name].Identity(), s.parts[name].Space()})
	}
	return list
}

// beside is the path of a file that the image names.
func (s *Source) beside(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(filepath.Dir(s.path), name)
}

// Close closes the file and all that were opened through it.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, c := range slices.Backward(s.closers) {
		err = errors.Join(err, c.Close())
	}
	s.closers = nil
	return err
}

// refusal is a name that is not followed: an iofs.ErrPermission, but in words of its own.
type refusal struct{ error }

func refuse(format string, args ...any) error { return &refusal{fmt.Errorf(format, args...)} }

func (r *refusal) Is(target error) bool { return target == iofs.ErrPermission }
func (r *refusal) Unwrap() error        { return r.error }
