package btrfs

import (
	"context"
	"fmt"
	"slices"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

const maxSubvolumes = 1 << 16

// Subvolumes lists the top level, and all that have a place in another one, by their numbers.
func (f *fileSystem) Subvolumes(ctx context.Context) ([]tree.Subvolume, error) {
	var list []tree.Subvolume
	err := f.scan(ctx, f.rootTree, key{topLevel, kindRoot, 0}, func(k key, b []byte) (bool, error) {
		if k.kind != kindRoot || k.object != topLevel && k.object < firstInode {
			return true, nil
		}
		if k.object >= 1<<(64-inodeBits) { // internal trees have the highest numbers
			return false, nil
		}
		if len(list) == maxSubvolumes {
			return false, disk.Unsupported(name, "more than %d subvolumes", maxSubvolumes)
		}
		s := tree.Subvolume{Number: k.object}
		if len(b) >= 279 {
			s.ReadOnly = le.Uint64(b[208:])&1 != 0
			s.UUID, s.ParentUUID = orNone(b[247:263]), orNone(b[263:279])
		}
		var err error
		s.Root, err = makeID(k.object, firstInode)
		list = append(list, s)
		return true, err
	})
	if err != nil {
		return nil, err
	}
	reached := list[:0]
	for _, s := range list {
		path, ok, err := f.pathOf(ctx, s.Number)
		if err != nil {
			return nil, err
		}
		if s.Path = path; ok {
			reached = append(reached, s)
		}
	}
	return reached, nil
}

func orNone(b []byte) string {
	if [16]byte(b) == [16]byte{} {
		return ""
	}
	return uuid(b)
}

// pathOf returns the path of a subvolume from the top level; ok is false if it has none.
func (f *fileSystem) pathOf(ctx context.Context, number uint64) (path []byte, ok bool, err error) {
	for range tree.MaxDepth {
		if number == topLevel {
			return path, true, nil
		}
		parent, dir, last, err := f.backref(ctx, number)
		if err != nil || parent == 0 {
			return nil, false, err
		}
		path = joinPath(last, path)
		for range tree.MaxDepth {
			if dir == firstInode || err != nil {
				break
			}
			var part []byte
			if dir, part, err = f.parent(ctx, parent, dir); err == nil {
				path = joinPath(part, path)
			}
		}
		if err != nil {
			return nil, false, err
		}
		if dir != firstInode || len(path) > tree.MaxPath {
			return nil, false, nil
		}
		number = parent
	}
	return nil, false, nil
}

func joinPath(name, rest []byte) []byte {
	if len(rest) == 0 {
		return slices.Clone(name)
	}
	return slices.Concat(name, []byte("/"), rest)
}

// backref returns where a subvolume is: the subvolume, directory and name. A parent of 0 is none.
func (f *fileSystem) backref(ctx context.Context, number uint64) (parent, dir uint64, last []byte, err error) {
	err = f.scan(ctx, f.rootTree, key{number, kindRootBackref, 0}, func(k key, b []byte) (bool, error) {
		if k.object == number && k.kind == kindRootBackref && len(b) >= 18 {
			parent, dir, last = k.offset, le.Uint64(b), b[18:]
		}
		return false, nil
	})
	return parent, dir, last, err
}

// parent returns the directory that has a directory, and its name there.
func (f *fileSystem) parent(ctx context.Context, subvolume, dir uint64) (up uint64, last []byte, err error) {
	r, err := f.subvolume(ctx, subvolume)
	if err != nil {
		return 0, nil, err
	}
	err = f.scan(ctx, r, key{dir, kindInodeRef, 0}, func(k key, b []byte) (bool, error) {
		if k.object == dir && k.kind == kindInodeRef && len(b) >= 10 && len(b) >= 10+int(le.Uint16(b[8:])) {
			up, last = k.offset, b[10:10+int(le.Uint16(b[8:]))]
		}
		return false, nil
	})
	if err == nil && up == 0 {
		err = disk.Corrupt(name, fmt.Sprintf("inode %d of subvolume %d", dir, subvolume), "the directory has no name")
	}
	return up, last, err
}
