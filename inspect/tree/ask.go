package tree

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"

	"github.com/imsfs/imsfs/formats"
)

// ValidName reports whether a name can be shown: it is not empty, "." or "..", has no slash and no
// NUL, and is at most MaxName bytes long.
func ValidName(name []byte) bool {
	return len(name) > 0 && len(name) <= MaxName && !bytes.ContainsAny(name, "/\x00") &&
		string(name) != "." && string(name) != ".."
}

// ReadDir is t.ReadDir without the names that are not valid. A directory of more than MaxEntries
// entries is ErrLimit after these.
func ReadDir(ctx context.Context, t Tree, dir ID, cookie uint64, fn func(Entry) bool) error {
	count := 0
	err := t.ReadDir(ctx, dir, cookie, func(e Entry) bool {
		if count == MaxEntries {
			count++
			return false
		}
		count++
		return !ValidName(e.Name) || fn(e)
	})
	if err == nil && count > MaxEntries {
		return over("entries of a directory", count, MaxEntries)
	}
	return err
}

// Lookup returns the file of a name in a directory, or fs.ErrNotExist.
func Lookup(ctx context.Context, t Tree, dir ID, name []byte) (ID, error) {
	if !ValidName(name) {
		return 0, fs.ErrNotExist
	}
	if f, ok := t.(Finder); ok {
		return f.Lookup(ctx, dir, name)
	}
	var found ID
	missing := true
	err := ReadDir(ctx, t, dir, 0, func(e Entry) bool {
		if bytes.Equal(e.Name, name) {
			found, missing = e.ID, false
		}
		return missing
	})
	if err == nil && missing {
		err = fs.ErrNotExist
	}
	return found, err
}

// Readlink returns the target of a symbolic link, not interpreted.
func Readlink(ctx context.Context, t Tree, id ID) ([]byte, error) {
	l, ok := t.(Linker)
	if !ok {
		return nil, ErrNotLink
	}
	target, err := l.Readlink(ctx, id)
	if err == nil && len(target) > MaxTarget {
		return nil, over("bytes of a symbolic link", len(target), MaxTarget)
	}
	return target, err
}

// Xattrs returns the extended attributes of a file; none if the file system has none.
func Xattrs(ctx context.Context, t Tree, id ID) ([]Xattr, error) {
	if a, ok := t.(Attributer); ok {
		return a.Xattrs(ctx, id)
	}
	return nil, nil
}

// Extent returns a run of one state, see Mapper. A tree that is not a Mapper has no holes.
func Extent(ctx context.Context, t Tree, id ID, off, n int64) (formats.Extent, error) {
	if m, ok := t.(Mapper); ok {
		e, err := m.Extent(ctx, id, off, n)
		if err == nil && (e.Off != off || e.Len < 1 || e.Len > n) {
			return e, fmt.Errorf("file %d: the extent at %d is [%d, +%d)", id, off, e.Off, e.Len)
		}
		return e, err
	}
	return formats.Extent{Off: off, Len: n, State: formats.Data}, nil
}
