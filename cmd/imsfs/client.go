package main

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/lifecycle/command"
)

// client is the tree of a running daemon, used as anybody may: by reading and writing its files.
type client struct{ root string }

// mountVariable names the tree where no flag does.
const mountVariable = "IMSFS_MOUNT"

// connect finds the tree: the one named by flag, else by the environment, else the only one that is mounted.
func connect(env *environment, mount string) (*client, error) {
	if mount == "" {
		mount = env.getenv(mountVariable)
	}
	if mount == "" {
		trees, err := mountedTrees(os.Geteuid())
		switch {
		case err != nil:
			return nil, err
		case len(trees) == 0:
			return nil, errors.New("no tree is mounted: start one with imsfs serve")
		case len(trees) > 1:
			return nil, fmt.Errorf("several trees are mounted: name one by --mount or %s: %s", mountVariable, strings.Join(trees, ", "))
		}
		mount = trees[0]
	}
	if _, err := os.Stat(filepath.Join(mount, "ctl")); err != nil {
		if errors.Is(err, iofs.ErrNotExist) {
			return nil, fmt.Errorf("%s: is not a mounted tree of imsfs", mount)
		}
		if errors.Is(err, unix.ENOTCONN) {
			return nil, fmt.Errorf("the daemon of %s has died: start it again with imsfs serve", mount)
		}
		return nil, err
	}
	return &client{mount}, nil
}

// store gives the path of one of the store's files.
func (c *client) store(name string) string { return filepath.Join(c.root, name) }

// image gives the path of one of an image's files. What can be no name is no image's, and no way out of the tree.
func (c *client) image(name, file string) (string, error) {
	dir := filepath.Join(c.root, "images", name)
	if filepath.Base(dir) != name || name == "" || name == "." || name == ".." {
		return "", noImage(name)
	}
	if _, err := os.Stat(dir); err != nil {
		if errors.Is(err, iofs.ErrNotExist) {
			return "", noImage(name)
		}
		return "", err
	}
	return filepath.Join(dir, file), nil
}

func noImage(name string) error { return fmt.Errorf("there is no image %q", name) }

// command writes one command line to a control file. Its refusal is told by the same open file.
func (c *client) command(ctl string, words ...string) error {
	f, err := os.OpenFile(ctl, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(command.Quote(words...)); err != nil {
		if answer, _ := io.ReadAll(f); len(answer) > 0 {
			return errors.New(strings.TrimSpace(string(answer)))
		}
		return err
	}
	return nil
}

// names lists the images.
func (c *client) names() ([]string, error) {
	entries, err := os.ReadDir(c.store("images"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, nil
}
