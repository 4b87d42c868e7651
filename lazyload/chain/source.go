package chain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/rawmap"
	"github.com/imsfs/imsfs/lazyload/source"
)

// MaxFiles is how many files an image may consist of besides its own: a VMDK of 2 TiB in extents of
// 2 GiB.
const MaxFiles = 1024

var (
	_ formats.Source = (*Source)(nil)
	_ formats.Sparse = (*Source)(nil)
	_ formats.Files  = (*Source)(nil)
)

// Source is an image's own file, and the way to the files that it names.
type Source struct {
	source.Object
	at      source.Location
	findDir func(context.Context) (source.Directory, error)
	holes   *rawmap.Map // nil if none is used; see findMap
	mapNote string

	mu      sync.Mutex       // guards the following
	dir     source.Directory // nil until a name is looked up
	parts   map[string]source.Object
	names   []string // of the parts, in the order in which they were opened
	closers []io.Closer
}

// File is one of the files that an image is read from. It can be kept as JSON.
type File struct {
	Path     string          `json:"path"` // of its location: for a link its own
	Identity source.Identity `json:"identity"`
	Space    int64           `json:"-"` // bytes that it takes where it lies
}

// Unchanged returns nil if the file is still in the state it had, and source.ErrChanged otherwise.
func (f File) Unchanged(ctx context.Context, sources source.Opener) error {
	at, err := sources.Parse(f.Path)
	if err != nil {
		return err
	}
	now, err := sources.Identify(ctx, at)
	if err != nil {
		return err
	}
	return f.Identity.Changed(f.Path, now)
}

// OpenSource opens an image's file.
func OpenSource(ctx context.Context, location string, sources source.Opener) (*Source, error) {
	at, err := sources.Parse(location)
	if err != nil {
		return nil, err
	}
	o, err := sources.Open(ctx, at)
	if err != nil {
		return nil, err
	}
	return newSource(o, at, func(ctx context.Context) (source.Directory, error) {
		return sources.Directory(ctx, at)
	}), nil
}

func newSource(o source.Object, at source.Location, findDir func(context.Context) (source.Directory, error)) *Source {
	return &Source{Object: o, at: at, findDir: findDir, closers: []io.Closer{o}}
}

// Open implements formats.Files. The same name is the same source, and Close closes it.
func (s *Source) Open(ctx context.Context, name string) (formats.Source, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if part := s.parts[name]; part != nil {
		return part, nil
	}
	if len(s.parts) == MaxFiles {
		return nil, source.Refuse("file %q: the image consists of more than %d files", name, MaxFiles)
	}
	n, err := s.find(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("file %q: %w", name, err)
	}
	part, err := n.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("file %q: %w", name, err)
	}
	if s.parts == nil {
		s.parts = map[string]source.Object{}
	}
	s.parts[name] = part
	s.names = append(s.names, name)
	s.closers = append(s.closers, part)
	return part, nil
}

// find finds the neighbour that a name in the image leads to. The caller holds mu.
func (s *Source) find(ctx context.Context, name string) (source.Neighbour, error) {
	clean, err := source.ParseName(name)
	if err != nil {
		return nil, err
	}
	if s.dir == nil {
		dir, err := s.findDir(ctx)
		if err != nil {
			return nil, err
		}
		s.dir = dir
		s.closers = append(s.closers, dir)
	}
	return s.dir.Find(ctx, clean)
}

// openBacking opens the file of a backing image by its name in the image.
func (s *Source) openBacking(ctx context.Context, name string) (*Source, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.find(ctx, name)
	if err != nil {
		return nil, err
	}
	o, err := n.Open(ctx)
	if err != nil {
		return nil, err
	}
	return newSource(o, s.beside(name), n.Directory), nil
}

// Path is the location of the file, as it was given.
func (s *Source) Path() string { return s.at.String() }

// Base is the last element of the location.
func (s *Source) Base() string { return s.at.Base() }

// Locate returns the location of the file that a name in the image leads to, or why the name is not
// followed. It does not open the file.
func (s *Source) Locate(ctx context.Context, name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.find(ctx, name)
	if err != nil {
		return "", err
	}
	return s.beside(name).String(), n.Exists(ctx)
}

// Files lists the image's own file and those that it consists of beside it.
func (s *Source) Files() []File {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []File{{s.at.String(), s.Identity(), source.Space(s.Object)}}
	for _, name := range s.names {
		part := s.parts[name]
		list = append(list, File{s.beside(name).String(), part.Identity(), source.Space(part)})
	}
	return list
}

// beside is the location of a file that the image names.
func (s *Source) beside(name string) source.Location { return s.at.Dir().Join(name) }

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
