package overlay

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

	"golang.org/x/sys/unix"
)

// Dir is a directory of deltas, each of them two files called after its number.
type Dir struct{ path string }

const (
	dataSuffix   = ".delta"
	bitmapSuffix = ".bitmap"
	sumsSuffix   = ".sums"
)

// OpenDir makes the directory exist.
func OpenDir(path string) (Dir, error) { return Dir{path}, os.MkdirAll(path, 0o700) }

func (d Dir) file(n uint64, suffix string) string {
	return filepath.Join(d.path, strconv.FormatUint(n, 10)+suffix)
}

// Create makes an empty delta for a disk of size bytes. The part below limit shows the layers
// below. The names of the files are durable after the next PutNote.
func (d Dir) Create(n uint64, size, limit int64) (err error) {
	f, err := d.open(n, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	if err = errors.Join(Create(f, size, limit), f.Close()); err != nil {
		return errors.Join(err, d.Remove(n))
	}
	return nil
}

// Open opens the files of a delta.
func (d Dir) Open(n uint64) (Files, error) { return d.open(n, os.O_RDWR) }

func (d Dir) open(n uint64, flags int) (Files, error) {
	files := Files{Name: d.file(n, dataSuffix)}
	data, err := os.OpenFile(files.Name, flags, 0o600)
	if err != nil {
		return Files{}, err
	}
	bitmap, err := os.OpenFile(d.file(n, bitmapSuffix), flags, 0o600)
	if err != nil {
		return Files{}, errors.Join(err, data.Close())
	}
	files.Data, files.Bitmap = osFile{data}, osFile{bitmap}
	if flags&os.O_CREATE != 0 {
		return files, nil // the checksums are made when the delta is first opened
	}
	// Without this file, where it cannot be made, the delta works, but has no checksums.
	if sums, err := os.OpenFile(d.file(n, sumsSuffix), flags|os.O_CREATE, 0o600); err == nil {
		files.Sums = osFile{sums}
	}
	files.Free, files.Floor = d.free, Floor
	boot, err := os.ReadFile(bootID)
	if err == nil {
		files.Boot = strings.TrimSpace(string(boot))
	}
	return files, nil
}

// Floor is the space that writes to deltas leave free on their file system, so that commands that
// free space, a stop and a start of the daemon still work.
const Floor = 40 << 20

func (d Dir) free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(d.path, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", d.path, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// bootID is different after each start of the kernel.
const bootID = "/proc/sys/kernel/random/boot_id"

// Aside lists the directories that SetAside made, in order.
func (d Dir) Aside() ([]string, error) {
	return filepath.Glob(d.path + ".old-*")
}

// DropAside deletes a directory that SetAside made. Nothing else deletes one.
func (d Dir) DropAside(path string) error {
	there, err := d.Aside()
	if err != nil {
		return err
	}
	if !slices.Contains(there, path) {
		return fmt.Errorf("%s: nothing was set aside there: %w", path, iofs.ErrNotExist)
	}
	return os.RemoveAll(path)
}

// Remove deletes a delta. A delta that is missing, or half missing, is not an error.
func (d Dir) Remove(n uint64) error {
	var errs []error
	for _, suffix := range []string{sumsSuffix, bitmapSuffix, dataSuffix} {
		errs = append(errs, removed(d.file(n, suffix)))
	}
	return errors.Join(errs...)
}

// Untouched reports whether nothing was ever written to a delta: those of its files that exist
// have no data after the header.
func (d Dir) Untouched(n uint64) bool {
	for suffix, from := range map[string]int64{dataSuffix: 0, bitmapSuffix: pagesAt, sumsSuffix: sumsHead} {
		f, err := os.Open(d.file(n, suffix))
		if errors.Is(err, iofs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false
		}
		_, err = osFile{f}.NextData(from)
		f.Close()
		if !errors.Is(err, io.EOF) {
			return false
		}
	}
	return true
}

// List returns the numbers of the deltas that are there, in order, also of halves.
func (d Dir) List() ([]uint64, error) { return d.numbers(dataSuffix, bitmapSuffix, sumsSuffix) }

// numbers returns those of the files that end so.
func (d Dir) numbers(suffixes ...string) ([]uint64, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, e := range entries {
		number, suffix, _ := strings.Cut(e.Name(), ".")
		if n, err := strconv.ParseUint(number, 10, 64); err == nil && slices.Contains(suffixes, "."+suffix) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return slices.Compact(numbers), nil
}

func (d Dir) sync() error {
	f, err := os.Open(d.path)
	if err != nil {
		return fmt.Errorf("the directory of deltas: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}
