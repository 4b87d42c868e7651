package file

import (
	"path/filepath"
	"strings"

	"github.com/imsfs/imsfs/lazyload/source"
)

const maxLinks = 40 // on the way to one file, as Linux has it

// place is a file's name, without links, in a directory that names may lead into.
type place struct {
	dir  *Dir
	name string
}

// find follows an absolute path, link by link, as long as it leads into one of the directories. It
// looks at nothing outside of them and opens nothing. The place may hold something else by the time
// it is opened; Dir ensures that it is still in that directory.
func find(dirs []*Dir, path string) (place, error) {
	for range maxLinks {
		at, ok := beneath(dirs, path)
		if !ok {
			return place{}, source.Refuse("a symbolic link leads to %q, which is outside of what may be followed", path)
		}
		target, ok, err := firstLink(at)
		if err != nil || !ok {
			return at, err
		}
		path = target
	}
	return place{}, source.Refuse("more than %d symbolic links lead there", maxLinks)
}

func beneath(dirs []*Dir, path string) (place, bool) {
	for _, d := range dirs {
		if name, ok := d.Beneath(path); ok {
			return place{d, name}, true
		}
	}
	return place{}, false
}

// firstLink replaces the first symbolic link on the way to a place; ok is false if there is none.
func firstLink(at place) (path string, ok bool, err error) {
	elements := strings.Split(at.name, "/")
	for i := range elements {
		parent := filepath.Join(elements[:i]...)
		target, ok, err := at.dir.Link(filepath.Join(parent, elements[i]))
		switch {
		case err != nil:
			return "", false, err
		case !ok:
			continue
		case source.ClimbsLate(target):
			return "", false, source.Refuse("a symbolic link leads to %q: %w", target, source.ErrDots)
		case !filepath.IsAbs(target):
			target = filepath.Join(at.dir.Path(), parent, target)
		}
		return filepath.Join(target, filepath.Join(elements[i+1:]...)), true, nil
	}
	return "", false, nil
}
