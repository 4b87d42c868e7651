package fs

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Config says how a tree is mounted.
type Config struct {
	Type       string // file system type behind "fuse.", "imsfs" say
	Name       string // the mount's device name, shown by df and findmnt
	AllowOther bool   // let other users than the daemon's see the tree
	ReadAhead  int64  // bytes the kernel reads ahead of a sequential reader; 0 leaves the kernel's 128 KiB
	Log        *slog.Logger
}

// maxRequest is the most the kernel asks for at once: what 256 pages hold, its default limit.
const maxRequest = 1 << 20

// maxBackground is the number of requests of read-ahead in flight. The library's 12 lets a few sequential readers
// fill it and keep the others waiting.
const maxBackground = 64

// Server is a mounted tree.
type Server struct {
	fuse       *fuse.Server
	mountpoint string
	dev        uint64 // the mount's device number
}

// Mount mounts the tree at a directory and returns once it answers.
func Mount(mountpoint string, root Root, cfg Config) (*Server, error) {
	never := time.Duration(0)
	server, err := fusefs.Mount(mountpoint, root.dir, &fusefs.Options{
		MountOptions: fuse.MountOptions{
			AllowOther:               cfg.AllowOther,
			Options:                  []string{"default_permissions"},
			FsName:                   cfg.Name,
			Name:                     cfg.Type,
			MaxWrite:                 maxRequest,
			MaxBackground:            maxBackground,
			DisableXAttrs:            true,
			ExplicitDataCacheControl: true,
			DirectMount:              true, // no helper program where mount(2) is permitted
			Logger:                   slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
		},
		EntryTimeout:    &never,
		AttrTimeout:     &never,
		NegativeTimeout: &never,
		UID:             uint32(os.Geteuid()),
		GID:             uint32(os.Getegid()),
		Logger:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
	})
	if err != nil {
		return nil, fmt.Errorf("mounting at %s: %w", mountpoint, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(mountpoint, &st); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: just mounted: %w", mountpoint, err), server.Unmount())
	}
	if cfg.ReadAhead > 0 {
		if err := setReadAhead(st.Dev, cfg.ReadAhead); err != nil {
			cfg.Log.Info("the kernel's read-ahead stays at its default", "reason", err)
		}
	}
	return &Server{server, mountpoint, st.Dev}, nil
}

// setReadAhead raises the read-ahead window of a mount. The kernel offers FUSE 128 KiB and lets the daemon only
// lower it; the entry of the backing device is the one way up, and needs root.
func setReadAhead(dev uint64, n int64) error {
	bdi := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(dev), unix.Minor(dev))
	return os.WriteFile(bdi, fmt.Appendf(nil, "%d\n", n/1024), 0)
}

// Wait returns when the tree is unmounted, by Unmount or by anybody.
func (s *Server) Wait() { s.fuse.Wait() }

// Unmount takes the tree away; while a file of it is open or a directory of it somebody's own, it is EBUSY. So it is for
// a tree that was detached by hand and still has users: what is mounted at its place by now is not ours to take away.
func (s *Server) Unmount() error {
	if !s.inPlace() {
		return fmt.Errorf("%s: the tree was detached and is in use: %w", s.mountpoint, unix.EBUSY)
	}
	return s.fuse.Unmount()
}

// Detach takes the tree out of sight at once: open files end with it, those of a tree that is out of sight already with
// the process. Only root may: EPERM.
func (s *Server) Detach() error {
	if !s.inPlace() {
		return nil
	}
	if err := unix.Unmount(s.mountpoint, unix.MNT_DETACH|unix.MNT_FORCE); err != nil {
		return fmt.Errorf("detaching %s: %w", s.mountpoint, err)
	}
	return nil
}

// inPlace tells whether what is mounted at the mount point is this tree.
func (s *Server) inPlace() bool {
	var st unix.Stat_t
	return unix.Stat(s.mountpoint, &st) == nil && st.Dev == s.dev
}
