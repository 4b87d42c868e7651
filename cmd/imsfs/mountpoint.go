package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// The types of our mounts, as the kernel's mount table shows them behind "fuse.".
const (
	treeType   = "imsfs"
	singleType = "imsfs-open"
)

// checkMountpoint refuses what must not be mounted over. A daemon whose own store lies under its mount would wait
// for itself. An empty store is none.
func checkMountpoint(mountpoint, store string) error {
	entries, err := os.ReadDir(mountpoint)
	if err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("mount point %s: is not empty: %w", mountpoint, unix.ENOTEMPTY)
	}
	if store == "" {
		return nil
	}
	at, err := filepath.EvalSymlinks(mountpoint)
	if err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	real := resolve(store)
	if within(at, real) {
		return fmt.Errorf("mount point %s: lies inside the store %s", mountpoint, store)
	}
	if within(real, at) {
		return fmt.Errorf("mount point %s: the store %s lies inside of it", mountpoint, store)
	}
	return nil
}

// resolve follows the links of as much of a path as exists.
func resolve(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	dir, name := filepath.Split(filepath.Clean(path))
	if dir == "" || dir == path {
		return path
	}
	return filepath.Join(resolve(filepath.Clean(dir)), name)
}

func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// dismissDeadMount unmounts a tree whose daemon was killed.
func dismissDeadMount(mountpoint string, log *slog.Logger) error {
	if err := statInTime(mountpoint); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("mount point %s: a daemon is mounted there that does not answer: if it was killed, run umount -f %s: %w",
			mountpoint, mountpoint, unix.EBUSY)
	} else if !errors.Is(err, unix.ENOTCONN) {
		return nil
	}
	at := resolve(mountpoint)
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.Mountpoint != at || !ours(m), false
	})
	if err != nil {
		return err
	}
	if len(mounts) == 0 {
		return fmt.Errorf("mount point %s: holds a dead mount that is not of this program: %w", mountpoint, unix.ENOTCONN)
	}
	if err := unix.Unmount(mountpoint, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("mount point %s: taking a dead mount away: %w", mountpoint, err)
	}
	log.Warn("took away the dead mount of a daemon that was killed", "mountpoint", mountpoint)
	return nil
}

// statTime is how long a daemon may take to answer a stat of its mount point.
const statTime = 5 * time.Second

// statInTime is os.Stat with a limit of time: os.ErrDeadlineExceeded. A daemon that is stopped, or
// hangs, answers nothing.
func statInTime(path string) error {
	done := make(chan error, 1)
	go func() {
		_, err := os.Stat(path)
		done <- err
	}()
	timer := time.NewTimer(statTime)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return os.ErrDeadlineExceeded
	}
}

func ours(m *mountinfo.Info) bool {
	return m.FSType == "fuse."+treeType || m.FSType == "fuse."+singleType
}

// mountedTrees lists where trees are mounted that this process can see.
func mountedTrees() ([]string, error) {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return m.FSType != "fuse."+treeType, false })
	if err != nil {
		return nil, err
	}
	var at []string
	for _, m := range mounts {
		if _, err := os.Stat(m.Mountpoint); !errors.Is(err, unix.ENOTCONN) { // what a killed daemon has left
			at = append(at, m.Mountpoint)
		}
	}
	return at, nil
}
