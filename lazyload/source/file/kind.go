// Package file opens files and block devices as sources. It is the only package for sources that
// knows that a file system exists.
//
// A name inside an image is followed if it is relative, has no "..", and leads, through whatever
// links, to a regular file in the image's own directory; or into a directory that the operator
// allows. Anything that is refused is not opened.
//
//	kind.go       which files are opened, and when an opening is given up
//	file.go       an open file
//	dir.go        a directory that files are opened beneath
//	find.go       following a path, link by link
//	neighbour.go  names inside images
package file

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/lazyload/source"
)

var _ source.Kind = Kind{}

// Kind opens files. The zero value is usable.
type Kind struct {
	// AllowDirs are directories, absolute paths, that names in images may lead into besides the
	// image's own.
	AllowDirs []string
	// Except is a directory, an absolute path without links, in which nothing is opened: the tree of
	// the process itself. "" is none.
	Except string
	// Devices permits block devices. Their content can change without a trace, so that an identity of
	// one must not be kept.
	Devices bool
}

// Schemes implements source.Kind.
func (Kind) Schemes() []string { return []string{source.File} }

// Open opens a regular file, or a block device if those are permitted.
//
// A file system can hang, for example NFS without its server. Then Open returns when ctx ends, and
// closes the file if it is opened later.
func (k Kind) Open(ctx context.Context, l source.Location) (source.Object, error) {
	return detached(ctx, l, func() (source.Object, error) {
		f, err := k.open(l)
		if err != nil {
			return nil, err // not a nil *File
		}
		return f, nil
	}, source.Object.Close)
}

func (k Kind) open(l source.Location) (*File, error) {
	if err := k.outside(l.Path); err != nil {
		return nil, err
	}
	// The file is examined before it is opened, because opening some devices has effects, and again
	// afterwards, because another may stand there by then. O_NONBLOCK: that may be a fifo.
	var st unix.Stat_t
	if err := unix.Stat(l.Path, &st); err != nil {
		return nil, fmt.Errorf("%s: %w", l.Path, err)
	}
	if err := k.takes(l.Path, &st); err != nil {
		return nil, err
	}
	f, err := openPath(l)
	if err != nil {
		return nil, err
	}
	if err := k.takes(l.Path, &f.stat); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Identify implements source.Kind. A block device has no identity: errors.ErrUnsupported.
func (k Kind) Identify(ctx context.Context, l source.Location) (source.Identity, error) {
	return detached(ctx, l, func() (source.Identity, error) {
		var st unix.Stat_t
		if err := unix.Stat(l.Path, &st); err != nil {
			return source.Identity{}, fmt.Errorf("%s: %w", l.Path, err)
		}
		return identity(&st), Kind{}.takes(l.Path, &st)
	}, nil)
}

// Directory implements source.Kind. It opens the allowed directories, and the image's own when a
// name leads there.
func (k Kind) Directory(ctx context.Context, l source.Location) (source.Directory, error) {
	return detached(ctx, l, func() (source.Directory, error) {
		d := &directory{findOwn: func() (*Dir, error) { return OpenDir(filepath.Dir(l.Path)) }, at: l.Dir()}
		for _, path := range k.AllowDirs {
			dir, err := openAllowed(path)
			if err != nil {
				return nil, errors.Join(err, d.Close())
			}
			d.allowed = append(d.allowed, dir)
			d.opened = append(d.opened, dir)
		}
		return d, nil
	}, source.Directory.Close)
}

func openAllowed(path string) (*Dir, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("the allowed directory %q is relative: its path must be absolute", path)
	}
	dir, err := OpenDir(path)
	if err != nil {
		return nil, fmt.Errorf("allowed directory: %w", err)
	}
	return dir, nil
}

// takes returns nil if a file of this type is opened.
func (k Kind) takes(path string, st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return nil
	case unix.S_IFBLK:
		if k.Devices {
			return nil
		}
		return fmt.Errorf("%s: a block device, and nothing tells when that is written to; make a file of it first: %w",
			path, errors.ErrUnsupported)
	case unix.S_IFDIR:
		return fmt.Errorf("%s: %w", path, unix.EISDIR)
	}
	return fmt.Errorf("%s: neither a file nor a block device: %w", path, unix.EINVAL)
}

// outside refuses a path in the tree of the process itself: the open file would keep the tree from
// being unmounted.
func (k Kind) outside(path string) error {
	if k.Except == "" {
		return nil
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil // the opening reports a wrong path
	}
	if rel, err := filepath.Rel(k.Except, real); err == nil && filepath.IsLocal(rel) {
		return fmt.Errorf("the source %s lies in this tree itself: %w", path, iofs.ErrInvalid)
	}
	return nil
}

// detached runs a function that a file system may keep waiting for ever, and returns early if ctx
// ends. A result that comes later is released.
func detached[T any](ctx context.Context, l source.Location, run func() (T, error), release func(T) error) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if ctx.Done() == nil {
		return run()
	}
	done := make(chan outcome, 1)
	go func() {
		value, err := run()
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
	}
	go func() {
		if o := <-done; o.err == nil && release != nil {
			release(o.value) // nothing was read, so there is nothing to lose in an error
		}
	}()
	return none, fmt.Errorf("%s: its file system does not answer: %w", l, ctx.Err())
}
