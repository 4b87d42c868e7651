package overlay

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A note is a small file that the owner of deltas keeps beside them, to know them again when he has lost all else. Its text is his, and
// so is its number, which is no delta's.
const (
	noteSuffix    = ".volume"
	newNoteSuffix = ".volume.new" // while it is written
)

// PutNote writes a note, and makes it durable together with the deltas that were created before it. After a kill it is whole: the old
// or the new.
func (d Dir) PutNote(n uint64, text []byte) error {
	fresh := d.file(n, newNoteSuffix)
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(fresh, d.file(n, noteSuffix))
	}
	if err != nil {
		return errors.Join(err, removed(fresh))
	}
	return d.sync()
}

// Note returns a note's text; iofs.ErrNotExist.
func (d Dir) Note(n uint64) ([]byte, error) { return os.ReadFile(d.file(n, noteSuffix)) }

// RemoveNote deletes a note. A missing or unfinished one is not an error.
func (d Dir) RemoveNote(n uint64) error {
	return errors.Join(removed(d.file(n, newNoteSuffix)), removed(d.file(n, noteSuffix)))
}

// Notes returns the numbers of the notes that are there, in order, also of such as were never finished.
func (d Dir) Notes() ([]uint64, error) { return d.numbers(noteSuffix, newNoteSuffix) }

// SetAside moves the deltas and notes whose numbers are not to be kept into the first free directory of PATH.old-1, PATH.old-2 and so on,
// and returns its path; "" if there are none.
func (d Dir) SetAside(keep func(n uint64) bool) (old string, err error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), ".")
		if n, err := strconv.ParseUint(number, 10, 64); err != nil || keep(n) {
			continue
		}
		if old == "" {
			if old, err = d.makeOld(); err != nil {
				return "", err
			}
		}
		if err := os.Rename(filepath.Join(d.path, e.Name()), filepath.Join(old, e.Name())); err != nil {
			return old, err
		}
	}
	if old == "" {
		return "", nil
	}
	return old, errors.Join(Dir{old}.sync(), d.sync())
}

func (d Dir) makeOld() (string, error) {
	for n := 1; ; n++ {
		old := fmt.Sprintf("%s.old-%d", d.path, n)
		if err := os.Mkdir(old, 0o700); !errors.Is(err, iofs.ErrExist) {
			return old, err
		}
	}
}

// removed makes a file not be there.
func removed(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	return nil
}
