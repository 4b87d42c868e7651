package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/inspect/tree"
)

func newCp(env *environment) *cobra.Command {
	var preserve bool
	cmd := insideCommand(env, &cobra.Command{
		Use:   "cp IMAGE[:SLICE]:/PATH DESTINATION",
		Short: "Copy a file or a directory out of an image",
		Long: `Copy a file or a whole directory out of an image. Holes stay holes. No link at the destination is followed, no file there
is replaced, setuid and setgid are removed, and device nodes, fifos and sockets are left out with a message.
Symbolic links are copied as they are. (virt-copy-out)`,
		Example: "  imsfs cp disk.qcow2:/etc ./etc\n  imsfs cp web:/var/log/syslog /tmp/",
		Args:    exactly("IMAGE[:SLICE]:/PATH", "DESTINATION"),
	}, func(ctx context.Context, opts insideOptions, args []string) error {
		return copyOut(ctx, env, opts, args[0], args[1], preserve)
	})
	cmd.Flags().BoolVarP(&preserve, "preserve", "p", false, "keep modification times")
	return cmd
}

func copyOut(ctx context.Context, env *environment, opts insideOptions, arg, destination string, preserve bool) error {
	s, err := openSpot(ctx, env, opts, arg, true)
	if err != nil {
		return err
	}
	defer s.Close()
	name := filepath.Base(s.path)
	if name == "/" {
		name = "root"
	}
	if st, err := os.Stat(destination); err != nil || !st.IsDir() {
		destination, name = filepath.Split(filepath.Clean(destination))
	}
	top, err := unix.Open(orElse(destination, "."), unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", orElse(destination, "."), err)
	}
	c := &copier{ctx: ctx, env: env, s: s, preserve: preserve, dirs: []int{top}, top: name}
	defer c.close()
	if err := s.walk(ctx, env, c.copy); err != nil {
		return err
	}
	if c.skipped {
		return verdict(exitFailure)
	}
	return nil
}

// copier makes files below a directory of the host. Directories are held open, and every name is made
// in one of them without following a link, so that nothing in an image decides where bytes go.
type copier struct {
	ctx      context.Context
	env      *environment
	s        *spot
	preserve bool
	dirs     []int // the destination, then the directories on the path
	top      string
	times    []tree.Attr // of the directories, set when they are left
	skipped  bool
}

func (c *copier) close() {
	c.leave(0)
	unix.Close(c.dirs[0])
}

// leave closes the directories below a depth.
func (c *copier) leave(depth int) {
	for len(c.dirs) > depth+1 {
		last := len(c.dirs) - 1
		if c.preserve {
			setTimes(c.dirs[last], c.times[last-1])
		}
		unix.Close(c.dirs[last])
		c.dirs, c.times = c.dirs[:last], c.times[:last-1]
	}
}

func (c *copier) copy(f tree.File) error {
	depth, name := 0, c.top
	if len(f.Path) > 0 {
		depth, name = 1+strings.Count(string(f.Path), "/"), string(f.Name)
	}
	c.leave(depth)
	dir := c.dirs[len(c.dirs)-1]
	var err error
	switch f.Attr.Type() {
	case tree.TypeDir:
		err = c.makeDir(dir, name, f.Attr)
	case tree.TypeFile:
		err = c.makeFile(dir, name, f.Attr)
	case tree.TypeLink:
		var target []byte
		if target, err = tree.Readlink(c.ctx, c.s.tree, f.Attr.ID); err == nil {
			err = unix.Symlinkat(string(target), dir, name)
		}
	default:
		fmt.Fprintf(c.env.stderr, "imsfs: cp: %s: a %s is left out\n", escape(f.Path), typeName(f.Attr.Type()))
	}
	if err == nil {
		return nil
	}
	if c.ctx.Err() != nil || errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("cp: %s: %w", escape(f.Path), err)
	}
	fmt.Fprintf(c.env.stderr, "imsfs: cp: %s: %s\n", orElse(escape(f.Path), c.top), oneLine(err))
	c.skipped = true
	if f.Attr.IsDir() {
		return iofs.SkipDir
	}
	return nil
}

func (c *copier) makeDir(dir int, name string, a tree.Attr) error {
	if err := unix.Mkdirat(dir, name, a.Mode&0o777|0o700); err != nil {
		return err
	}
	fd, err := unix.Openat(dir, name, unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	c.dirs, c.times = append(c.dirs, fd), append(c.times, a)
	return nil
}

func (c *copier) makeFile(dir int, name string, a tree.Attr) (err error) {
	fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, a.Mode&0o777|0o600)
	if err != nil {
		return err
	}
	out := os.NewFile(uintptr(fd), name)
	defer func() { err = errors.Join(err, out.Close()) }()
	err = copyFile(c.ctx, c.s.tree, a, func(p []byte, off int64) error {
		_, err := out.WriteAt(p, off)
		return err
	}, func(int64) error { return nil })
	if err != nil {
		return err
	}
	if err := out.Truncate(a.Size); err != nil {
		return err
	}
	if c.preserve {
		setTimes(fd, a)
	}
	return nil
}

// setTimes sets the modification time. A host that cannot hold it keeps its own.
func setTimes(fd int, a tree.Attr) {
	if a.Mtime.Known {
		at := unix.NsecToTimeval(a.Mtime.Sec*1e9 + int64(a.Mtime.Nsec))
		unix.Futimes(fd, []unix.Timeval{at, at})
	}
}
