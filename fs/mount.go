package fs

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/tree"
)

// Config says how a tree is mounted.
type Config struct {
	Type       string // file system type after "fuse.", for example "imsfs"
	Name       string // the mount's device name, shown by df and findmnt
	AllowOther bool   // let users other than the daemon's see the tree
	ReadAhead  int64  // bytes to read ahead of a sequential reader; 0 leaves the kernel's 128 KiB
	Space      Space
	Log        *slog.Logger
}

// maxRequest is the most the kernel asks for at once: what 256 pages hold, its default limit.
const maxRequest = 1 << 20

// maxBackground is the number of read-ahead requests in flight. The library's 12 lets a few
// sequential readers fill it and keep the others waiting.
const maxBackground = 64

// Server is a mounted tree.
//
// The process that serves a tree must not make a system call that waits for that tree, such as a
// stat of its mount point. A process that is killed while one of its threads waits for an answer
// cannot end: the thread waits until the connection to the kernel is closed, and the connection is
// closed when the last thread has ended. So the mount point is looked at with device only, and the
// FUSE library's WaitMount, which opens a file of the tree, is not used.
type Server struct {
	fuse       *fuse.Server
	mountpoint string
	dev        uint64 // the mount's device number
	nodes      *mounted
}

// Mount mounts a tree at a directory and returns once the tree answers.
func Mount(mountpoint string, root tree.Dir, cfg Config) (*Server, error) {
	m := &mounted{
		numbers: newNumbers(),
		space:   cfg.Space,
		uid:     uint32(os.Geteuid()),
		gid:     uint32(os.Getegid()),
		log:     cfg.Log,
	}
	opts := options(cfg)
	bridge := fusefs.NewNodeFS(m.render(root), opts)
	server, err := fuse.NewServer(counted{bridge, m.numbers}, mountpoint, &opts.MountOptions)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", mountpoint, err)
	}
	if err := closeOnExec(); err != nil {
		cfg.Log.Warn("processes started from here keep the tree's connection open", "reason", err)
	}
	go server.Serve()
	dev, err := device(mountpoint)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mount %s: after mounting: %w", mountpoint, err), server.Unmount())
	}
	if cfg.ReadAhead > 0 {
		if err := setReadAhead(dev, cfg.ReadAhead); err != nil {
			cfg.Log.Info("the kernel's read-ahead stays at its default", "reason", err)
		}
	}
	return &Server{server, mountpoint, dev, m}, nil
}

func options(cfg Config) *fusefs.Options {
	never := time.Duration(0)
	log := slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn)
	return &fusefs.Options{
		MountOptions: fuse.MountOptions{
			AllowOther:    cfg.AllowOther,
			Options:       []string{"default_permissions", "nosuid", "nodev"},
			FsName:        cfg.Name,
			Name:          cfg.Type,
			MaxWrite:      maxRequest,
			MaxBackground: maxBackground,
			DisableXAttrs: true,
			// Names are never remembered, so that READDIRPLUS would look every name up twice.
			DisableReadDirPlus:       true,
			ExplicitDataCacheControl: true,
			// O_TRUNC comes with the open, where it can be told from truncate(2).
			ExtraCapabilities: fuse.CAP_ATOMIC_O_TRUNC,
			DirectMount:       true, // no helper program where mount(2) is permitted
			Logger:            log,
		},
		EntryTimeout:    &never,
		AttrTimeout:     &never,
		NegativeTimeout: &never,
		RootStableAttr:  &fusefs.StableAttr{Ino: rootIno},
		NullPermissions: true,
		Logger:          log,
	}
}

// closeOnExec keeps the connection to the kernel from processes that this one starts. The FUSE
// library does not, and a process that has the connection and waits for the tree can never end.
func closeOnExec() error {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		fd, isNumber := strconv.Atoi(e.Name())
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && isNumber == nil && to == "/dev/fuse" {
			unix.CloseOnExec(fd)
		}
	}
	return err
}

// device returns the number of the file system at a path, without a request to the process that
// serves it.
func device(path string) (uint64, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, 0, &st); err != nil {
		return 0, err
	}
	return unix.Mkdev(st.Dev_major, st.Dev_minor), nil
}

// setReadAhead raises the read-ahead window of a mount. The kernel offers FUSE 128 KiB and lets the
// daemon only lower it; the entry of the backing device is the one way up, and needs root.
func setReadAhead(dev uint64, n int64) error {
	bdi := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(dev), unix.Minor(dev))
	return os.WriteFile(bdi, fmt.Appendf(nil, "%d\n", n/1024), 0)
}

// Wait returns when the tree is unmounted, by Unmount or by anything else.
func (s *Server) Wait() { s.fuse.Wait() }

// grace is how long the kernel may take to close the connection after the tree was unmounted.
const grace = time.Second

// Unmount unmounts the tree. It returns EBUSY while a file of the tree is open or a directory of it
// is the working directory of a process. It does so too when the tree is out of sight and still in
// use: detached by hand, or mounted in another mount namespace, such as a container's. By then
// another file system may be mounted in its place, which stays.
func (s *Server) Unmount() error {
	outOfSight := fmt.Errorf("%s: the tree was unmounted here and is in use in another mount namespace or by an open file: %w",
		s.mountpoint, unix.EBUSY)
	if !s.inPlace() {
		return outOfSight
	}
	done := make(chan error, 1)
	go func() { done <- s.fuse.Unmount() }() // returns when the connection is closed
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return outOfSight
	}
}

// Detach takes the tree out of sight at once and ends the connection to the kernel, so that open
// files of it fail. Only root can: EPERM.
func (s *Server) Detach() error {
	// The control file system may not be mounted. Then the connection ends with the process.
	_ = os.WriteFile(fmt.Sprintf("/sys/fs/fuse/connections/%d/abort", unix.Minor(s.dev)), []byte("1"), 0)
	if !s.inPlace() {
		return nil
	}
	if err := unix.Unmount(s.mountpoint, unix.MNT_DETACH|unix.MNT_FORCE); err != nil {
		return fmt.Errorf("detach %s: %w", s.mountpoint, err)
	}
	return nil
}

// inPlace reports whether this tree is mounted at the mount point.
func (s *Server) inPlace() bool {
	dev, err := device(s.mountpoint)
	return err == nil && dev == s.dev
}
