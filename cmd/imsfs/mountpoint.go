package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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

// checkMountpoint rejects a place that must not be mounted over, whether it exists or not. A daemon
// whose own store lies below its mount would wait for itself. An empty store is none.
func checkMountpoint(mountpoint, store string) error {
	if err := checkNotServed(mountpoint); err != nil || store == "" {
		return err
	}
	at, real := resolve(mountpoint), resolve(store)
	if within(at, real) {
		return fmt.Errorf("mount point %s: lies inside the store %s", mountpoint, store)
	}
	if within(real, at) {
		return fmt.Errorf("mount point %s: the store %s lies inside of it", mountpoint, store)
	}
	return nil
}

// checkEmpty rejects a mount point that is not an empty directory.
func checkEmpty(mountpoint string) error {
	entries, err := os.ReadDir(mountpoint)
	if err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("mount point %s: is not empty: %w", mountpoint, unix.ENOTEMPTY)
	}
	return nil
}

// checkNotServed refuses a mount point where a tree, or one disk, is mounted already.
func checkNotServed(mountpoint string) error {
	at := resolve(mountpoint)
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.Mountpoint != at || !ours(m), false
	})
	if err != nil || len(mounts) == 0 {
		return err
	}
	return fmt.Errorf("mount point %s: imsfs already serves %s there: to end that, run umount %s: %w",
		mountpoint, strings.TrimPrefix(mounts[0].Source, "imsfs:"), mountpoint, unix.EBUSY)
}

// makeMountpoint creates an absent mount point. The directory that it is in must exist.
func makeMountpoint(mountpoint string) error {
	if err := os.Mkdir(mountpoint, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("mount point: %w", err)
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

// mountedTrees lists where trees are mounted that belong to a user: trees that a daemon of
// the user serves. Another user's tree is used only by a caller who names it.
func mountedTrees(uid int) ([]string, error) {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.FSType != "fuse."+treeType || !belongsTo(m, uid), false
	})
	if err != nil {
		return nil, err
	}
	var at []string
	for _, m := range mounts {
		at = append(at, m.Mountpoint)
	}
	return at, nil
}

// belongsTo reports whether a FUSE mount is that of a user. The kernel shows the user in the mount's
// options.
func belongsTo(m *mountinfo.Info, uid int) bool {
	return slices.Contains(strings.Split(m.VFSOptions, ","), "user_id="+strconv.Itoa(uid))
}
