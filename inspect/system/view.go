// Package system tells which operating system a root directory holds: its name and version,
// architecture, kernels, packages, and how its disk boots. It reads files of the guest and never
// runs or evaluates any of them.
package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

const (
	maxFile    = 16 << 20 // of a file that is read as a whole
	maxEntries = 100_000  // of a directory that is listed
)

// View is a root directory with the file systems that its fstab mounts into it.
type View struct {
	mounts []mount // the root first
}

type mount struct {
	at   string // "/", "/boot"
	tree tree.Tree
	top  tree.ID
}

// NewView returns the view of a root directory without mounts.
func NewView(t tree.Tree, top tree.ID) *View { return &View{[]mount{{"/", t, top}}} }

// Mount adds a file system at an absolute path.
func (v *View) Mount(at string, t tree.Tree) {
	v.mounts = append(v.mounts, mount{strings.TrimRight(at, "/"), t, t.Root()})
}

// Find returns the file of an absolute path. The longest mount point that begins the path decides
// the file system; links are then followed inside of it, absolute ones from its top.
func (v *View) Find(ctx context.Context, path string) (tree.Tree, tree.ID, error) {
	return v.Resolve(ctx, path, true)
}

// Resolve is Find that returns a link in the last place itself unless follow is true.
func (v *View) Resolve(ctx context.Context, path string, follow bool) (tree.Tree, tree.ID, error) {
	best := v.mounts[0]
	rest := path
	for _, m := range v.mounts[1:] {
		if inner, ok := strings.CutPrefix(path, m.at); ok && (inner == "" || inner[0] == '/') && len(m.at) > len(best.at) {
			best, rest = m, inner
		}
	}
	id, err := tree.Resolve(ctx, best.tree, best.top, []byte(rest), follow)
	return best.tree, id, err
}

// Exists reports whether a path names a file. A path that cannot be read is an error.
func (v *View) Exists(ctx context.Context, path string) (bool, error) {
	_, _, err := v.Find(ctx, path)
	if absent(err) {
		return false, nil
	}
	return err == nil, err
}

// absent reports whether an error means that the file does not exist.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, tree.ErrNotDir) || errors.Is(err, tree.ErrLoop)
}

// Read returns the content of a regular file, at most 16 MiB. A file that is not there is
// fs.ErrNotExist.
func (v *View) Read(ctx context.Context, path string) ([]byte, error) {
	return v.read(ctx, path, maxFile)
}

func (v *View) read(ctx context.Context, path string, limit int64) ([]byte, error) {
	t, id, err := v.Find(ctx, path)
	if err != nil {
		if absent(err) {
			err = fmt.Errorf("%s: %w", path, fs.ErrNotExist)
		}
		return nil, err
	}
	a, err := t.Stat(ctx, id)
	if err != nil {
		return nil, err
	}
	if a.Type() != tree.TypeFile {
		return nil, fmt.Errorf("%s: %w", path, tree.ErrNotFile)
	}
	if a.Size > limit {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are read: %w", path, a.Size, limit, tree.ErrLimit)
	}
	p := make([]byte, a.Size)
	n, err := t.ReadAt(ctx, id, p, 0)
	if err == io.EOF && int64(n) == a.Size {
		err = nil
	}
	return p[:n], err
}

// List returns the names in a directory. A directory that does not exist has none.
func (v *View) List(ctx context.Context, path string) ([]string, error) {
	t, id, err := v.Find(ctx, path)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	err = tree.ReadDir(ctx, t, id, 0, func(e tree.Entry) bool {
		names = append(names, string(e.Name))
		return len(names) < maxEntries
	})
	if errors.Is(err, tree.ErrNotDir) {
		return nil, nil
	}
	return names, err
}

// damaged reports whether an error means that evidence could not be read.
func damaged(err error) bool {
	return err != nil && !errors.Is(err, fs.ErrNotExist) || errors.Is(err, disk.ErrCorrupt)
}

// IsRoot reports whether a directory is the root of an operating system, and the reason.
func IsRoot(ctx context.Context, t tree.Tree, top tree.ID) (bool, string, error) {
	v := NewView(t, top)
	has := func(paths ...string) bool {
		for _, p := range paths {
			if ok, err := v.Exists(ctx, p); err == nil && ok {
				return true
			}
		}
		return false
	}
	switch {
	case has("/etc/os-release", "/usr/lib/os-release"):
		return true, "it has an os-release file", ctx.Err()
	case has("/Windows/System32/config/SOFTWARE", "/WINDOWS/system32/config/software"):
		return true, "it has a Windows registry", ctx.Err()
	case has("/etc") && has("/bin", "/usr/bin") && has("/etc/fstab", "/etc/redhat-release", "/etc/SuSE-release", "/etc/debian_version"):
		return true, "it has etc, programs and an fstab or release file", ctx.Err()
	case has("/etc"):
		return false, "it has etc, but neither an os-release file nor programs with an fstab", ctx.Err()
	}
	return false, "it has neither etc nor Windows", ctx.Err()
}
