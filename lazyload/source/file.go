package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats"
)

var (
	_ formats.Source = (*File)(nil)
	_ formats.Sparse = (*File)(nil)
)

// File is a regular file or a block device, opened for reading. It is safe for concurrent use.
type File struct {
	f      *os.File
	path   string
	id     Identity
	device uint64
	size   int64
	space  int64 // bytes that it occupies
}

func openFile(path string) (*File, error) {
	// Looked at before, as opening some devices has effects, and after, as it may be another file by then; O_NONBLOCK
	// because that may be a fifo.
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := identity(path, &st); err != nil {
		return nil, err
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return newFile(os.NewFile(uintptr(fd), path), path)
}

// newFile takes an open file over, and closes it if it is no source.
func newFile(f *os.File, path string) (*File, error) {
	s := &File{f: f, path: path}
	if err := s.look(); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

// look finds out what was opened.
func (s *File) look() error {
	fd := int(s.f.Fd())
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	var err error
	if s.id, err = identity(s.path, &st); err != nil {
		return err
	}
	s.device, s.size, s.space = st.Dev, st.Size, st.Blocks*512
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		if s.size, err = unix.Seek(fd, 0, io.SeekEnd); err != nil {
			return fmt.Errorf("%s: size of the device: %w", s.path, err)
		}
		s.space = s.size
	}
	return nil
}

func identity(path string, st *unix.Stat_t) (Identity, error) {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFBLK:
		return Identity{Inode: st.Ino, Size: st.Size, ModTime: st.Mtim.Nano()}, nil
	case unix.S_IFDIR:
		return Identity{}, fmt.Errorf("%s: %w", path, unix.EISDIR)
	}
	return Identity{}, fmt.Errorf("%s: neither a file nor a block device: %w", path, unix.EINVAL)
}

// Identity is that of the file when it was opened.
func (s *File) Identity() Identity { return s.id }

// Same tells whether two open files are one, whatever their names.
func (s *File) Same(other *File) bool {
	return s.device == other.device && s.id.Inode == other.id.Inode
}

// Size implements formats.Source.
func (s *File) Size() int64 { return s.size }

// Allocated implements formats.Sparse.
func (s *File) Allocated() int64 { return min(s.space, s.size) }

// Space is the number of bytes that the file takes, with what its file system adds to the last.
func (s *File) Space() int64 { return s.space }

// Close gives the file back; no read may be running.
func (s *File) Close() error { return s.f.Close() }

// ReadAt implements formats.Source. The check follows the read: bytes that were written before they were read
// have moved the file's modification time by then.
//
// A read under way cannot be interrupted, but one that nobody waits for any more is not begun.
func (s *File) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, err := s.f.ReadAt(p, off)
	if changed := s.unchanged(); changed != nil {
		return changed
	}
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%s: read of %d bytes at %#x ends at %d: %w", s.path, len(p), off, off+int64(n), io.ErrUnexpectedEOF)
	}
	return err // *os.PathError: says path and operation
}

func (s *File) unchanged() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(s.f.Fd()), &st); err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	if now := (Identity{Inode: st.Ino, Size: st.Size, ModTime: st.Mtim.Nano()}); now != s.id {
		return s.id.Changed(s.path, now)
	}
	return nil
}

// Hole implements formats.Sparse by SEEK_DATA and SEEK_HOLE; a file system that knows no holes reports
// everything as data. The descriptor's offset, which these move, is used for nothing else.
func (s *File) Hole(_ context.Context, off, n int64) (hole bool, length int64, err error) {
	hole, length, err = s.hole(off, n)
	if changed := s.unchanged(); changed != nil { // behind the new end of a truncated file all seems a hole
		return false, 0, changed
	}
	return hole, length, err
}

func (s *File) hole(off, n int64) (hole bool, length int64, err error) {
	fd := int(s.f.Fd())
	data, err := unix.Seek(fd, off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // no data behind off
		return true, n, nil
	case errors.Is(err, unix.EINVAL): // no such notion here, a block device say
		return false, n, nil
	case err != nil:
		return false, 0, fmt.Errorf("%s: SEEK_DATA at %#x: %w", s.path, off, err)
	case data > off:
		return true, min(n, data-off), nil
	}
	end, err := unix.Seek(fd, off, unix.SEEK_HOLE)
	if err != nil {
		return false, 0, fmt.Errorf("%s: SEEK_HOLE at %#x: %w", s.path, off, err)
	}
	return false, min(n, max(1, end-off)), nil
}
