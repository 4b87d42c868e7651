package kv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Badger writes through memory mappings. On a full file system a mapped write kills the process
// instead of returning an error. So nothing is written below a margin. Another program may still
// fill the file system. Then the reserve file is removed, and its space lets commands that free
// space, a stop and a start go on.
const (
	margin      = 16 << 20 // a full file system has less
	leastMargin = 6 << 20  // nothing is written below this, when the reserve is gone
	reserveFile = "reserve"
	reserveSize = 16 << 20
)

// room returns an error if the store's file system is too full to write to. It removes the reserve
// file first if that helps.
func room(dir string) error {
	free, err := freeSpace(dir)
	if err != nil || free >= margin {
		return err
	}
	path := filepath.Join(dir, reserveFile)
	if os.Remove(path) == nil {
		if free, err = freeSpace(dir); err != nil {
			return err
		}
	}
	if free < leastMargin {
		return fmt.Errorf("its file system has %d MiB free, and the database needs %d to write: free some: %w",
			free>>20, leastMargin>>20, unix.ENOSPC)
	}
	return nil
}

// makeReserve creates the reserve file if there is ample space. The store works without it.
func makeReserve(dir string) {
	path := filepath.Join(dir, reserveFile)
	if st, err := os.Stat(path); err == nil && st.Size() == reserveSize {
		return
	}
	if free, err := freeSpace(dir); err != nil || free < margin+4*reserveSize {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	if err := errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, reserveSize), f.Close()); err != nil {
		_ = os.Remove(path)
	}
}

func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space: %w", err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}
