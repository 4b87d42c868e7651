package file

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path/filepath"
	"slices"
	"sync"

	"github.com/imsfs/imsfs/lazyload/source"
)

var (
	errAbsolute = errors.New("an absolute path is only followed into a directory that the operator allows")
	errClimbs   = errors.New(`a path with ".." is only followed into a directory that the operator allows`)
)

// directory finds the files that an image names.
type directory struct {
	at      source.Location // of the image's own directory
	allowed []*Dir          // those of the operator
	findOwn func() (*Dir, error)

	mu     sync.Mutex // guards the following: an opening that was given up may still end
	own    *Dir       // nil until a name leads into it
	opened []*Dir     // those to be closed
	closed bool
}

// Find implements source.Directory. To look up a name that may be followed, it opens directories.
func (d *directory) Find(ctx context.Context, name source.Name) (source.Neighbour, error) {
	return detached(ctx, d.at.Join(string(name)), func() (source.Neighbour, error) {
		n, err := d.find(name)
		if err != nil {
			return nil, err
		}
		return n, nil
	}, nil)
}

func (d *directory) find(name source.Name) (*neighbour, error) {
	n := &neighbour{path: string(name), dirs: d.allowed, allowed: d.allowed, at: d.at.Join(string(name))}
	rule := errAbsolute
	if !name.IsAbs() {
		rule = errClimbs
	}
	if !name.IsLocal() && len(d.allowed) == 0 {
		return nil, source.Refuse("%w", rule)
	}
	if !name.IsAbs() {
		own, err := d.openOwn()
		if err != nil {
			return nil, err
		}
		n.path = filepath.Join(own.Path(), n.path)
		if name.IsLocal() {
			n.dirs = append([]*Dir{own}, d.allowed...)
		}
	}
	if _, ok := beneath(n.dirs, n.path); !ok {
		return nil, source.Refuse("%w", rule)
	}
	var err error
	n.found, err = find(n.dirs, n.path)
	return n, err
}

func (d *directory) openOwn() (*Dir, error) {
	if own := d.ready(); own != nil {
		return own, nil
	}
	dir, err := d.findOwn()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.own != nil {
		return d.own, errors.Join(dir.Close(), d.usable())
	}
	d.own = dir
	d.opened = append(d.opened, dir)
	return dir, nil
}

func (d *directory) ready() *Dir {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.own
}

// usable returns an error after Close. The caller holds mu.
func (d *directory) usable() error {
	if d.closed {
		return fmt.Errorf("%s: %w", d.at, iofs.ErrClosed)
	}
	return nil
}

// Close implements source.Directory.
func (d *directory) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	var err error
	for _, dir := range slices.Backward(d.opened) {
		err = errors.Join(err, dir.Close())
	}
	d.opened = nil
	return err
}

// neighbour is a file that a name inside an image leads to.
type neighbour struct {
	at      source.Location // as it was named
	path    string          // absolute
	dirs    []*Dir          // that the name may lead into
	allowed []*Dir
	found   place
}

// Exists implements source.Neighbour. Anything but a regular file is refused.
func (n *neighbour) Exists(ctx context.Context) error {
	_, err := detached(ctx, n.at, func() (struct{}, error) {
		return struct{}{}, onlyFiles(n.found.dir.Regular(n.found.name))
	}, nil)
	return err
}

// Open implements source.Neighbour.
func (n *neighbour) Open(ctx context.Context) (source.Object, error) {
	return detached(ctx, n.at, func() (source.Object, error) {
		f, err := n.found.dir.Open(n.found.name)
		if err != nil {
			return nil, onlyFiles(err)
		}
		return f, nil
	}, source.Object.Close)
}

func onlyFiles(err error) error {
	if errors.Is(err, ErrNotRegular) {
		return source.Refuse("%w", err)
	}
	return err
}

// Directory implements source.Neighbour. The directory is the one in which the name has the file;
// the target of a link does not matter, as in QEMU.
func (n *neighbour) Directory(context.Context) (source.Directory, error) {
	return &directory{at: n.at.Dir(), allowed: n.allowed, findOwn: func() (*Dir, error) {
		at, err := find(n.dirs, filepath.Dir(n.path))
		if err != nil {
			return nil, err
		}
		return at.dir.OpenDir(at.name)
	}}, nil
}
