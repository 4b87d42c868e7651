package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/system"
	"github.com/imsfs/imsfs/inspect/tree"
)

// Files are the files of a slice, or of an operating system with the file systems of its fstab.
type Files struct {
	Slice *Slice // of the root directory
	view  *system.View
}

// RootID names the root of the disk's only operating system where the ID of a slice is expected.
const RootID = "root"

// ErrAmbiguous is the error of Files if a disk has several slices to choose from, or none.
var ErrAmbiguous = errors.New("name a slice")

// Files returns the files of the slice of an ID. Without an ID it chooses the root of the only
// operating system, and else the only file system.
func (l *Layout) Files(ctx context.Context, id string) (*Files, error) {
	if id != "" && id != RootID {
		s, ok := l.Slice(id)
		if !ok {
			return nil, fmt.Errorf("slice %q: %w (there are: %s)", id, errNoSlice, l.names(l.Slices))
		}
		return s.files(ctx)
	}
	roots, err := l.Roots(ctx)
	if err != nil {
		return nil, err
	}
	if len(roots) == 1 {
		return &Files{roots[0].Slice, roots[0].View}, nil
	}
	if len(roots) > 1 || id == RootID {
		var slices []*Slice
		for _, r := range roots {
			slices = append(slices, r.Slice)
		}
		return nil, fmt.Errorf("%d operating systems (%s): %w", len(roots), l.names(slices), ErrAmbiguous)
	}
	return l.onlyTree(ctx)
}

var errNoSlice = fmt.Errorf("the disk does not have it: %w", fs.ErrNotExist)

// onlyTree returns the files of the only slice with a file system. If there is none, the error says
// what the slices have instead.
func (l *Layout) onlyTree(ctx context.Context) (*Files, error) {
	var readable []*Slice
	var reasons []string
	kind := ErrNoFileSystem
	for _, s := range l.Slices {
		_, err := s.Tree(ctx)
		if err == nil {
			readable = append(readable, s)
			continue
		}
		for _, k := range []error{disk.ErrCorrupt, disk.ErrUnsupported} {
			if errors.Is(err, k) {
				kind = k
			}
		}
		reasons = append(reasons, err.Error())
	}
	switch len(readable) {
	case 1:
		return readable[0].files(ctx)
	case 0:
		return nil, fmt.Errorf("no file system can be read: %s: %w", strings.Join(reasons, "; "), kind)
	}
	return nil, fmt.Errorf("%d file systems (%s): %w", len(readable), l.names(readable), ErrAmbiguous)
}

func (l *Layout) names(list []*Slice) string {
	var names []string
	for _, s := range list {
		names = append(names, s.ID)
	}
	return strings.Join(names, ", ")
}

func (s *Slice) files(ctx context.Context) (*Files, error) {
	t, err := s.Tree(ctx)
	if err != nil {
		return nil, err
	}
	return &Files{s, system.NewView(t, t.Root())}, nil
}

// Resolve returns the file of an absolute path and the file system that has it. No path leads out
// of the disk. Unless follow is true, a link in the last place is returned itself.
func (f *Files) Resolve(ctx context.Context, path string, follow bool) (tree.Tree, tree.ID, error) {
	return f.view.Resolve(ctx, path, follow)
}
