package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/lazyload/source"
)

// ErrNotRegular matches every error about a thing beneath a Dir that is not a regular file.
var ErrNotRegular = errors.New("not a regular file")

// Dir is a directory that files are opened beneath. Nothing outside of it is opened, even if names
// and links change meanwhile. It is safe for concurrent use.
type Dir struct {
	root  *os.Root
	given string // the path it was opened by
	real  string // an absolute path without links that led to it then
}

// OpenDir opens the directory at a path of the caller's choosing.
func OpenDir(path string) (*Dir, error) {
	given, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	real, err := filepath.EvalSymlinks(given)
	if err != nil {
		return nil, named(path, err)
	}
	root, err := os.OpenRoot(real)
	if err != nil {
		return nil, named(path, err)
	}
	return &Dir{root, given, real}, nil
}

// OpenDir opens a directory beneath this one.
func (d *Dir) OpenDir(name string) (*Dir, error) {
	root, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, named(filepath.Join(d.given, name), err)
	}
	return &Dir{root, filepath.Join(d.given, name), filepath.Join(d.real, name)}, nil
}

// Path is an absolute path of the directory, without links.
func (d *Dir) Path() string { return d.real }

// Beneath returns the name that an absolute path has in the directory; ok is false if the path, by
// its words, leads elsewhere. The directory itself is ".".
func (d *Dir) Beneath(path string) (name string, ok bool) {
	for _, dir := range []string{d.real, d.given} {
		name, err := filepath.Rel(dir, path)
		if err == nil && filepath.IsLocal(name) {
			return name, true
		}
	}
	return "", false
}

// Link returns the target of the symbolic link of that name; ok is false if it is not a link.
func (d *Dir) Link(name string) (target string, ok bool, err error) {
	target, err = d.root.Readlink(name)
	switch {
	case errors.Is(err, unix.EINVAL):
		return "", false, nil
	case err != nil:
		return "", false, named(filepath.Join(d.given, name), err)
	}
	return target, true, nil
}

// Regular returns nil if there is a regular file of that name beneath the directory. Anything else
// is ErrNotRegular. It opens nothing.
func (d *Dir) Regular(name string) error {
	path := filepath.Join(d.given, name)
	info, err := d.root.Stat(name)
	if err != nil {
		return named(path, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: %w", path, ErrNotRegular)
	}
	return nil
}

// Open opens a regular file beneath the directory. Anything else is ErrNotRegular and is not opened,
// because opening a device may have effects.
func (d *Dir) Open(name string) (*File, error) {
	if err := d.Regular(name); err != nil {
		return nil, err
	}
	path := filepath.Join(d.given, name)
	f, err := d.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // it may be a fifo by now
	if err != nil {
		return nil, named(path, err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, ErrNotRegular), f.Close())
	}
	return newFile(f, source.Location{Scheme: source.File, Path: path})
}

// Close closes the directory; files that were opened beneath it stay open.
func (d *Dir) Close() error { return d.root.Close() }

// named replaces the path in an error, which is only a part, by the whole path.
func named(path string, err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}
