package overlay

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// File is a file of a delta.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	// Sync makes all writes durable, as fdatasync does.
	Sync() error
	// Punch makes a range zeros and gives its space back; it may do nothing.
	Punch(off, n int64) error
	// NextData returns the first offset from off on that is not in a hole; io.EOF if there is
	// none.
	NextData(off int64) (int64, error)
}

// Files are those of a delta.
type Files struct {
	Name         string // for errors; the bitmap's is Name.bitmap
	Data, Bitmap File
	Sums         File   // nil: the delta has no checksums, and a kill loses writes that were not flushed
	Boot         string // identifies the run of the kernel: its page cache survives a kill

	// Free returns how many bytes the file system has left. Writes to new units stop at Floor; nil: they stop when it is full.
	Free  func() (int64, error)
	Floor int64
}

// Close closes them.
func (f Files) Close() error {
	var errs []error
	for _, one := range []File{f.Data, f.Bitmap, f.Sums} {
		if one != nil {
			errs = append(errs, one.Close())
		}
	}
	return errors.Join(errs...)
}

// DamagedError is a delta that does not keep its layout.
type DamagedError struct {
	File string
	Off  int64
	Rule string

	sum bool // a unit does not match its checksum
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s is damaged at %#x: %s", e.File, e.Off, e.Rule)
}

// osFile is a file of the operating system.
type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (f osFile) Sync() error {
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

func (f osFile) Punch(off, n int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) { // the bitmap says zero; only the space stays
		return &os.PathError{Op: "punch hole", Path: f.Name(), Err: err}
	}
	return nil
}

func (f osFile) Map(size int64) ([]byte, error) {
	if err := f.Truncate(size); err != nil {
		return nil, err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, &os.PathError{Op: "mmap", Path: f.Name(), Err: err}
	}
	return b, nil
}

func (f osFile) Unmap(b []byte) error { return unix.Munmap(b) }

func (f osFile) Release(b []byte) error { return unix.Madvise(b, unix.MADV_DONTNEED) }

// Reserve rewrites the range where a file system cannot reserve.
func (f osFile) Reserve(off, n int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, off, n)
	if errors.Is(err, unix.EOPNOTSUPP) {
		b := make([]byte, n)
		if _, err = f.ReadAt(b, off); err == nil {
			_, err = f.WriteAt(b, off)
		}
	}
	if err != nil {
		return &os.PathError{Op: "reserve", Path: f.Name(), Err: err}
	}
	return nil
}

func (f osFile) NextData(off int64) (int64, error) {
	at, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return 0, io.EOF
	case errors.Is(err, unix.EINVAL): // a file system without
		return off, nil
	}
	return at, err
}
