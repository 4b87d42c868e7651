package kv

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// These are files of a store directory. A new database is made in makingDir, renamed to newDir when
// it is whole, and then to dbDir.
const (
	markerFile = "imsfs-store"
	lockFile   = "lock"
	sealFile   = "seal"
	dbDir      = "db"
	newDir     = "db.new"
	makingDir  = "db.making"
)

// layout is the version in the marker. It changes when older versions of imsfs cannot read the
// store.
const layout = 1

// claim checks that dir is a store or can become one, creates it if needed, and locks it.
func claim(dir string) (*lock, error) {
	if err := look(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	l, err := acquire(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, err
	}
	if err := look(dir); err != nil { // it may have changed before it was ours
		l.release()
		return nil, err
	}
	return l, nil
}

// look returns an error for a directory that is neither a store of this layout nor empty. It
// changes nothing.
func look(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == markerFile {
			return readMarker(filepath.Join(dir, markerFile))
		}
	}
	for _, e := range entries {
		if name := e.Name(); !leftover(name) {
			return fmt.Errorf("it is not a store and not empty (it has %q): give a store, or an empty or missing directory: %w", name, iofs.ErrInvalid)
		}
	}
	return nil
}

// leftover reports whether an empty directory may have the name: files of an interrupted creation,
// and of mkfs.
func leftover(name string) bool {
	return name == lockFile || name == newDir || name == makingDir || name == "lost+found" || strings.HasPrefix(name, "."+markerFile)
}

func readMarker(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	number, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "imsfs store layout ")
	version, err := strconv.Atoi(number)
	switch {
	case !ok || err != nil || version < 1:
		return damaged("%s does not say %q", markerFile, markerText())
	case version > layout:
		return fmt.Errorf("it has layout %d, made by a newer imsfs; this one knows layout %d: %w", version, layout, errors.ErrUnsupported)
	}
	return nil
}

func markerText() string { return fmt.Sprintf("imsfs store layout %d", layout) }

// create makes the database of a new store. It writes the marker after the database is whole and
// before the database gets its name. So after a kill nothing counts without the marker, and with it
// db.new or db is whole.
func create(dir string) error {
	marker, fresh, whole := filepath.Join(dir, markerFile), filepath.Join(dir, newDir), filepath.Join(dir, dbDir)
	if _, err := os.Stat(marker); errors.Is(err, iofs.ErrNotExist) {
		if err := makeFresh(dir, nil); err != nil {
			return err
		}
		if err := renameio.WriteFile(marker, []byte(markerText()+"\n"), 0o600, renameio.WithTempDir(dir)); err != nil {
			return err
		}
	}
	if _, err := os.Stat(whole); err == nil || !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	if err := os.Rename(fresh, whole); err != nil {
		return damaged("its database, %s, is missing: restore it from a backup, or make it anew with imsfs store rebuild", whole)
	}
	return syncDir(dir)
}

// makeFresh makes a new database. If begin is not nil, it runs in the first transaction. The
// database gets the name db.new when it is whole. A kill before leaves db.making, which is never
// used.
func makeFresh(dir string, begin func(*WriteTx) error) error {
	making, fresh := filepath.Join(dir, makingDir), filepath.Join(dir, newDir)
	if err := errors.Join(os.RemoveAll(making), os.RemoveAll(fresh)); err != nil {
		return err
	}
	db, err := openBadger(making, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if begin != nil {
		err = db.Update(func(txn *badger.Txn) error { return begin(&WriteTx{Tx{txn}}) })
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	return errors.Join(syncDir(making), os.Rename(making, fresh), syncDir(dir))
}

// Reset replaces the database in dir with a new one. If begin is not nil, it runs in the first
// transaction. The old database is kept; Reset returns its new path, or "" if there was none. A
// kill leaves the old database or the new one.
func Reset(dir string, begin func(*WriteTx) error) (old string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("store %s: reset: %w", dir, err)
		}
	}()
	if _, err := os.Stat(filepath.Join(dir, markerFile)); err != nil {
		return "", err
	}
	l, err := claim(dir)
	if err != nil {
		return "", err
	}
	defer l.release()
	if err := errors.Join(makeFresh(dir, begin), unseal(dir)); err != nil {
		return "", err
	}
	if old, err = setAside(dir); err != nil {
		return "", err
	}
	// The witness belongs to the old database, so it stays until that is set aside.
	if err := os.Remove(filepath.Join(dir, witnessFile)); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return old, err
	}
	return old, create(dir)
}

// setAside renames db to the first free of db.old-1, db.old-2, and so on.
func setAside(dir string) (string, error) {
	whole := filepath.Join(dir, dbDir)
	if _, err := os.Stat(whole); errors.Is(err, iofs.ErrNotExist) {
		return "", nil
	}
	for n := 1; ; n++ {
		old := fmt.Sprintf("%s.old-%d", whole, n)
		if _, err := os.Lstat(old); errors.Is(err, iofs.ErrNotExist) {
			return old, os.Rename(whole, old)
		} else if err != nil {
			return "", err
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lock is held while its file is open, so it ends with its process.
type lock struct{ f *os.File }

func acquire(path string) (*lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, &inUseError{holder(f)}
	}
	if err := errors.Join(f.Truncate(0), writePid(f)); err != nil {
		f.Close()
		return nil, err
	}
	return &lock{f}, nil
}

func writePid(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// holder returns a name for the process that holds the lock. A process may not have written its pid
// yet.
func holder(f *os.File) string {
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	if pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n]))); err == nil {
		return fmt.Sprintf("process %d", pid)
	}
	return "another process"
}

func (l *lock) release() { l.f.Close() }
