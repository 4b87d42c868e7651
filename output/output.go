// Package output makes files that appear whole: what is written goes to a file of another name in the same directory, which takes
// its own name once it is complete and on stable storage. So no half file ever bears the name, whatever ends the
// program. The commands on image files and the daemon's exports write in this way.
package output

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats"
)

// File is a file that takes its name only once it is complete. It is a formats.Target.
type File struct {
	*renameio.PendingFile
	path  string
	force bool // replace what has the name
}

// Create prepares writing path. What exists is kept (iofs.ErrExist) unless force is given, and even then if it is one of
// the sources or no regular file: a rename would put a file in a device's place.
func Create(path string, sources []string, force bool) (*File, error) {
	path, err := followLinks(path)
	if err != nil {
		return nil, err
	}
	if err := replaceable(path, sources, force); err != nil {
		return nil, err
	}
	f, err := renameio.NewPendingFile(path,
		renameio.WithTempDir(filepath.Dir(path)),
		renameio.WithPermissions(0o666),
		renameio.WithExistingPermissions(),
	)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &File{f, path, force}, nil
}

// followLinks makes sure that a link's target is replaced and not the link.
func followLinks(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&iofs.ModeSymlink == 0 {
		return path, nil // what is wrong with it shows in what comes next
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("%s: a symbolic link that leads nowhere: %w", path, err)
	}
	return target, nil
}

func replaceable(path string, sources []string, force bool) error {
	info, err := os.Stat(path)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, source := range sources {
		src, err := os.Stat(source)
		switch {
		case errors.Is(err, iofs.ErrNotExist): // an image that the daemon has all of may have lost it
		case err != nil:
			return fmt.Errorf("%s: %w", source, err)
		case os.SameFile(info, src) && source == sources[0]:
			return fmt.Errorf("%s: is the source itself", path)
		case os.SameFile(info, src):
			return fmt.Errorf("%s: is a file that the source is based on", path)
		}
	}
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: is not a regular file", path)
	case !force:
		return fmt.Errorf("%s: %w", path, iofs.ErrExist)
	}
	return nil
}

var _ formats.Preallocator = (*File)(nil)

// Allocate is the formats.Preallocator method.
func (o *File) Allocate(off, n int64) error {
	for {
		err := unix.Fallocate(int(o.Fd()), 0, off, n)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fallocate", err)
		}
	}
}

// Commit gives the file its name, once it and then its directory are on stable storage.
func (o *File) Commit() error {
	// Looked at again, as what took the name in the meantime is not ours to replace.
	if _, err := os.Lstat(o.path); err == nil && !o.force {
		return fmt.Errorf("%s: was created by somebody else in the meantime: %w", o.path, iofs.ErrExist)
	}
	if err := o.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("%s: %w", o.path, err)
	}
	return syncDir(filepath.Dir(o.path))
}

// Discard removes the file if it was not committed.
func (o *File) Discard() { o.Cleanup() }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Settle brings what was written to stable storage and out of the page cache, so that who reads it back sees what is stored.
func (o *File) Settle() error {
	if err := o.Sync(); err != nil {
		return err
	}
	return os.NewSyscallError("fadvise", unix.Fadvise(int(o.Fd()), 0, 0, unix.FADV_DONTNEED))
}
