package packs

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// file is the part of a file that a pack uses. Tests wrap it to inject faults.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
	Truncate(size int64) error
	// Punch frees the space of the bytes, which then read as zeros.
	Punch(off, n int64) error
	// Size returns the file's length and the bytes it takes on disk.
	Size() (length, used int64, err error)
}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return unix.Fdatasync(int(f.Fd())) }

func (f osFile) Punch(off, n int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
}

func (f osFile) Size() (length, used int64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, 0, err
	}
	return st.Size, st.Blocks * 512, nil
}

// files are the pack files of a directory, by number. Numbers are never reused, and written bytes
// are never overwritten. So a late read of a place finds the same bytes, or zeros.
type files struct {
	dir  string
	wrap func(file) file // tests inject faults with it

	mu   sync.RWMutex
	open map[uint32]file
}

func (fs *files) path(pack uint32) string {
	return filepath.Join(fs.dir, fmt.Sprintf("%08d.pack", pack))
}

// list returns the numbers of the existing packs, in order.
func (fs *files) list() ([]uint32, error) {
	entries, err := os.ReadDir(fs.dir)
	if err != nil {
		return nil, err
	}
	var packs []uint32
	for _, e := range entries {
		number, ok := strings.CutSuffix(e.Name(), ".pack")
		if n, err := strconv.ParseUint(number, 10, 32); ok && err == nil && fs.path(uint32(n)) == filepath.Join(fs.dir, e.Name()) {
			packs = append(packs, uint32(n))
		}
	}
	slices.Sort(packs)
	return packs, nil
}

// get returns a pack for reading. It returns iofs.ErrNotExist for a pack that is gone.
func (fs *files) get(pack uint32) (file, error) {
	fs.mu.RLock()
	f := fs.open[pack]
	fs.mu.RUnlock()
	if f != nil {
		return f, nil
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.open[pack]; f != nil {
		return f, nil
	}
	raw, err := os.OpenFile(fs.path(pack), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	b := make([]byte, packHead)
	if _, err := raw.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, raw.Close())
	}
	if err := checkHeader(b, pack); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", fs.path(pack), err), raw.Close())
	}
	return fs.keep(pack, osFile{raw}), nil
}

// keep enters an open file. The caller holds mu.
func (fs *files) keep(pack uint32, f file) file {
	if fs.wrap != nil {
		f = fs.wrap(f)
	}
	fs.open[pack] = f
	return f
}

// create makes a pack that holds only its header. The file's name is on disk when create returns;
// the header follows with the first sync.
func (fs *files) create(pack uint32) (file, error) {
	raw, err := os.OpenFile(fs.path(pack), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f := fs.keep(pack, osFile{raw})
	if _, err = f.WriteAt(header(pack), 0); err == nil {
		err = fs.syncDir()
	}
	if err != nil {
		delete(fs.open, pack)
		return nil, errors.Join(err, f.Close(), os.Remove(fs.path(pack)))
	}
	return f, nil
}

// remove deletes a pack. Reads in progress still get its bytes; later ones fail with
// iofs.ErrNotExist or iofs.ErrClosed.
func (fs *files) remove(pack uint32) error {
	if err := os.Remove(fs.path(pack)); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var err error
	if f := fs.open[pack]; f != nil {
		err = f.Close()
		delete(fs.open, pack)
	}
	return errors.Join(err, fs.syncDir())
}

func (fs *files) syncDir() error {
	d, err := os.Open(fs.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// used returns the bytes that all packs take on disk.
func (fs *files) used() (int64, error) {
	packs, err := fs.list()
	if err != nil {
		return 0, err
	}
	sum := int64(0)
	for _, pack := range packs {
		var st unix.Stat_t
		if err := unix.Stat(fs.path(pack), &st); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return 0, fmt.Errorf("%s: %w", fs.path(pack), err)
		} else if err == nil {
			sum += st.Blocks * 512
		}
	}
	return sum, nil
}

// free returns the free bytes of the file system.
func (fs *files) free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(fs.dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", fs.dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

func (fs *files) close() error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var errs []error
	for _, f := range fs.open {
		errs = append(errs, f.Close())
	}
	clear(fs.open)
	return errors.Join(errs...)
}
