// Package output makes files that appear whole. Bytes are written to a file without a name, or with
// a hidden one in the same directory, which takes its own name once it is complete and on stable
// storage. So an incomplete file never has the name, however the program ends. The commands on
// image files and the daemon's exports write in this way.
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

// File is a file that takes its name only once it is complete: until then it has none, so that
// nothing is left of it whatever happens, or where the file system cannot do that, one that is
// hidden. It is a formats.Target.
type File struct {
	*os.File
	path   string
	hidden string // its name meanwhile, "" if it has none
	force  bool   // replace a file of that name
	done   bool
}

// Create prepares writing path. A file that exists is replaced only with force (iofs.ErrExist), and
// never if it is one of the sources, not a regular file, or another user's bait: see
// destination.go.
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
	if errors.As(err, &at) { // without the hidden name, which means nothing to the user
		return fmt.Errorf("%s: %w", o.path, at.Err)
	}
	return err
}

func hiddenName(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+rand.Text())
}

var _ formats.Preallocator = (*File)(nil)

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

// takeName replaces a file of that name only with force.
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
		os.Remove(o.hidden) // its error would hide why the file is discarded
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

// Settle brings the file to stable storage and out of the page cache, so that a later read shows
// the stored bytes.
func (o *File) Settle() error {
	if err := o.Sync(); err != nil {
		return err
	}
	return os.NewSyscallError("fadvise", unix.Fadvise(int(o.Fd()), 0, 0, unix.FADV_DONTNEED))
}

// Free returns the free bytes of the file's file system for this process; -1 if it does not say.
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
