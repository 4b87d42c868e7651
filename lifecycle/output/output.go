// Package output makes files that appear whole: what is written goes to a file without a name, or with a hidden one in the
// same directory, which takes its own name once it is complete and on stable storage. So no half file ever bears the name,
// whatever ends the program. The commands on image files and the daemon's exports write in this way.
package output

import (
	"crypto/rand"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats"
)

// File is a file that takes its name only once it is complete: until then it has none, so that nothing is left of it whatever
// happens, or where the file system cannot do that, one that is hidden. It is a formats.Target.
type File struct {
	*os.File
	path   string
	hidden string // its name meanwhile, "" if it has none
	force  bool   // replace what has the name
	done   bool
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
	o := &File{path: path, force: force}
	if o.File, err = Unnamed(filepath.Dir(path)); err != nil {
		if err := o.openHidden(); err != nil {
			return nil, err
		}
	}
	if before, err := os.Stat(path); err == nil {
		if err := o.Chmod(before.Mode().Perm()); err != nil {
			o.Discard()
			return nil, err
		}
	}
	return o, nil
}

// Unnamed makes a file in a directory that has no name there. Giving it one takes /proc.
func Unnamed(dir string) (*os.File, error) {
	if _, err := os.Stat(descriptors); err != nil {
		return nil, err
	}
	return os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR, 0o666)
}

// descriptors is where open files can be reached by paths.
const descriptors = "/proc/self/fd"

// DescriptorPath is a path by which an open file can be opened again, whatever its name.
func DescriptorPath(f *os.File) string { return fmt.Sprintf("%s/%d", descriptors, f.Fd()) }

func (o *File) openHidden() (err error) {
	o.hidden = hiddenName(o.path)
	o.File, err = os.OpenFile(o.hidden, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	var at *iofs.PathError
	if errors.As(err, &at) { // the hidden name says nothing to anybody
		return fmt.Errorf("%s: %w", o.path, at.Err)
	}
	return err
}

func hiddenName(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+rand.Text())
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
	if err := o.Sync(); err != nil {
		return err
	}
	if err := o.takeName(); errors.Is(err, iofs.ErrExist) {
		return fmt.Errorf("%s: was created by somebody else in the meantime: %w", o.path, iofs.ErrExist)
	} else if err != nil {
		return err
	}
	o.done = true
	if err := o.Close(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(o.path))
}

// takeName never replaces what has the name, unless it may.
func (o *File) takeName() error {
	if o.hidden == "" {
		name := o.path
		if o.force {
			name = hiddenName(o.path)
		}
		if err := unix.Linkat(unix.AT_FDCWD, DescriptorPath(o.File), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW); err != nil {
			return &iofs.PathError{Op: "naming", Path: name, Err: err}
		}
		if !o.force {
			return nil
		}
		o.hidden = name
	}
	if o.force {
		return os.Rename(o.hidden, o.path)
	}
	err := unix.Renameat2(unix.AT_FDCWD, o.hidden, unix.AT_FDCWD, o.path, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // not on this file system: look, and then do it
		if _, err := os.Lstat(o.path); err == nil {
			return iofs.ErrExist
		}
		return os.Rename(o.hidden, o.path)
	}
	return os.NewSyscallError("renameat2", err)
}

// Discard removes the file if it was not committed.
func (o *File) Discard() {
	if o.done {
		return
	}
	if o.hidden != "" {
		os.Remove(o.hidden) // what is wrong with it has no bearing on why it is discarded
	}
	o.Close()
}

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

// Free is what the file's file system has to spare for this process; -1 if it does not say.
func (o *File) Free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(o.Fd()), &st); err != nil {
		return 0, fmt.Errorf("%s: space of its file system: %w", o.path, err)
	}
	blocks := st.Bavail
	if os.Geteuid() == 0 {
		blocks = st.Bfree
	}
	if st.Blocks == 0 {
		return -1, nil
	}
	return int64(blocks) * st.Bsize, nil
}
