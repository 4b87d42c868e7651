package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/source"
)

var (
	_ source.Object  = (*File)(nil)
	_ source.Spacer  = (*File)(nil)
	_ source.Aliaser = (*File)(nil)
	_ formats.Sparse = (*File)(nil)
)

// File is a regular file or a block device, open for reading. It is safe for concurrent use.
type File struct {
	f     *os.File
	at    source.Location
	stat  unix.Stat_t // when it was opened
	id    source.Identity
	last  atomic.Pointer[unix.Stat_t] // the latest that was compared and accepted
	size  int64
	space int64
}

// Open opens the regular file at a path of the caller's choosing.
func Open(ctx context.Context, path string) (*File, error) {
	o, err := Kind{}.Open(ctx, source.Location{Scheme: source.File, Path: path})
	if err != nil {
		return nil, err
	}
	return o.(*File), nil
}

func openPath(l source.Location) (*File, error) {
	fd, err := unix.Open(l.Path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l, err)
	}
	return newFile(os.NewFile(uintptr(fd), l.Path), l)
}

// newFile takes ownership of an open file. It closes the file if it fails.
func newFile(f *os.File, l source.Location) (*File, error) {
	s := &File{f: f, at: l}
	if err := s.measure(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

func (s *File) measure() error {
	fd := int(s.f.Fd())
	if err := unix.Fstat(fd, &s.stat); err != nil {
		return fmt.Errorf("%s: %w", s.at, err)
	}
	s.id = identity(&s.stat)
	s.last.Store(&s.stat)
	s.size, s.space = s.stat.Size, s.stat.Blocks*512
	if s.stat.Mode&unix.S_IFMT != unix.S_IFBLK {
		return nil
	}
	var err error
	if s.size, err = unix.Seek(fd, 0, io.SeekEnd); err != nil {
		return fmt.Errorf("%s: size of the device: %w", s.at, err)
	}
	s.space = s.size
	return nil
}

// identity has the time of change besides that of writing: programs that copy put the latter back
// (rsync -t, cp -p, tar), and no program can set the former.
func identity(st *unix.Stat_t) source.Identity {
	return source.Identity{Size: st.Size, ModTime: st.Mtim.Nano(), Tag: source.NewTag(
		source.Inode, strconv.FormatUint(st.Ino, 10),
		source.ChangeTime, strconv.FormatInt(st.Ctim.Nano(), 10),
		source.Attributes, fmt.Sprintf("%o:%d:%d:%d", st.Mode, st.Uid, st.Gid, st.Nlink))}
}

// Identity is that of the file when it was opened.
func (s *File) Identity() source.Identity { return s.id }

// Same implements source.Aliaser.
func (s *File) Same(other source.Object) bool {
	o, ok := other.(*File)
	return ok && s.stat.Dev == o.stat.Dev && s.stat.Ino == o.stat.Ino
}

// Size implements formats.Source.
func (s *File) Size() int64 { return s.size }

// Allocated implements formats.Sparse.
func (s *File) Allocated() int64 { return min(s.space, s.size) }

// Space implements source.Spacer. It includes the unused rest of the last block.
func (s *File) Space() int64 { return s.space }

// Close closes the file; no read may be running.
func (s *File) Close() error { return s.f.Close() }

// ReadAt implements formats.Source. It compares the file's state after the read, because bytes that
// were written before they were read have moved the file's times by then.
//
// A read that has begun cannot be interrupted. A read whose ctx has ended does not begin.
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
		return fmt.Errorf("%s: read of %d bytes at %#x ends at %d: %w",
			s.at, len(p), off, off+int64(n), io.ErrUnexpectedEOF)
	}
	return err // *os.PathError, which has path and operation
}

func (s *File) unchanged() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(s.f.Fd()), &st); err != nil {
		return fmt.Errorf("%s: %w", s.at, err)
	}
	last := s.last.Load()
	if st.Size == last.Size && st.Mtim == last.Mtim && st.Ctim == last.Ctim {
		return nil
	}
	now := identity(&st)
	if err := identity(last).Changed(s.at.String(), now); err != nil {
		return err
	}
	s.last.Store(&st) // for example another file took its name
	return nil
}

// Hole implements formats.Sparse by SEEK_DATA and SEEK_HOLE; a file system that knows no holes
// reports everything as data. Nothing else uses the descriptor's offset, which these move.
func (s *File) Hole(_ context.Context, off, n int64) (hole bool, length int64, err error) {
	hole, length, err = s.hole(off, n)
	if changed := s.unchanged(); changed != nil { // past the end of a truncated file all seems a hole
		return false, 0, changed
	}
	return hole, length, err
}

func (s *File) hole(off, n int64) (hole bool, length int64, err error) {
	fd := int(s.f.Fd())
	data, err := unix.Seek(fd, off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // no data at or after off
		return true, n, nil
	case errors.Is(err, unix.EINVAL): // for example a block device
		return false, n, nil
	case err != nil:
		return false, 0, fmt.Errorf("%s: SEEK_DATA at %#x: %w", s.at, off, err)
	case data > off:
		return true, min(n, data-off), nil
	}
	end, err := unix.Seek(fd, off, unix.SEEK_HOLE)
	if err != nil {
		return false, 0, fmt.Errorf("%s: SEEK_HOLE at %#x: %w", s.at, off, err)
	}
	return false, min(n, max(1, end-off)), nil
}
