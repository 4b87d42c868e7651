package btrfs

import (
	"context"
	"fmt"
	"hash/crc32"
	"io/fs"
	"sync"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

// Kinds of items.
const (
	kindInode       = 1
	kindInodeRef    = 12
	kindXattr       = 24
	kindDirItem     = 84
	kindDirIndex    = 96
	kindExtent      = 108
	kindRoot        = 132
	kindRootBackref = 144
	kindRootRef     = 156
	kindChunk       = 228
)

const (
	topLevel     = 5   // the number of the first subvolume
	firstInode   = 256 // the root directory of each
	emptyInode   = 2   // a directory for a subvolume that is not in this snapshot
	inodeBits    = 40
	maxKeptRoots = 4096
)

// fileSystem is a Tree.
type fileSystem struct {
	src      disk.Source
	super    *super
	driver   *Driver
	chunks   []chunk // by logical address
	rootTree root
	top      tree.ID
	info     tree.Info

	mu    sync.Mutex
	nodes map[int64]*node // by logical address
	roots map[uint64]root // of subvolumes
}

func (f *fileSystem) Info() tree.Info { return f.info }
func (f *fileSystem) Root() tree.ID   { return f.top }

func makeID(subvolume, inode uint64) (tree.ID, error) {
	if subvolume >= 1<<(64-inodeBits) || inode >= 1<<inodeBits {
		return 0, disk.Unsupported(name, "inode %d of subvolume %d: numbers of that size", inode, subvolume)
	}
	return tree.ID(subvolume<<inodeBits | inode), nil
}

func subvolumeOf(id tree.ID) uint64 { return uint64(id) >> inodeBits }
func inodeOf(id tree.ID) uint64     { return uint64(id) & (1<<inodeBits - 1) }

// subvolume returns the root of a subvolume's tree.
func (f *fileSystem) subvolume(ctx context.Context, number uint64) (root, error) {
	f.mu.Lock()
	r, ok := f.roots[number]
	f.mu.Unlock()
	if ok {
		return r, nil
	}
	found := false
	err := f.scan(ctx, f.rootTree, key{number, kindRoot, 0}, func(k key, b []byte) (bool, error) {
		if k.object != number || k.kind != kindRoot {
			return false, nil
		}
		if len(b) < 239 {
			return false, disk.Corrupt(name, fmt.Sprintf("subvolume %d", number), "the root item has %d bytes", len(b))
		}
		r, found = root{int64(le.Uint64(b[176:])), int(b[238]), le.Uint64(b[160:])}, true
		return false, nil
	})
	if err == nil && !found {
		err = disk.Corrupt(name, "root tree", "subvolume %d is not there", number)
	}
	if err != nil {
		return root{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.roots) >= maxKeptRoots {
		clear(f.roots)
	}
	f.roots[number] = r
	return r, nil
}

// defaultSubvolume follows the entry "default" of the root tree's directory.
func (f *fileSystem) defaultSubvolume(ctx context.Context) (tree.ID, error) {
	number := uint64(topLevel)
	err := f.scan(ctx, f.rootTree, key{le.Uint64(f.super.raw[128:]), kindDirItem, 0}, func(k key, b []byte) (bool, error) {
		if k.object != le.Uint64(f.super.raw[128:]) || k.kind != kindDirItem {
			return false, nil
		}
		return true, dirItems(b, func(d dirItem) bool {
			if string(d.name) == "default" && d.target.kind == kindRoot {
				number = d.target.object
			}
			return true
		})
	})
	if err != nil {
		return 0, err
	}
	if _, err := f.subvolume(ctx, number); err != nil {
		return 0, err
	}
	return makeID(number, firstInode)
}

// inode is an inode item.
type inode struct {
	raw    []byte
	tree   root
	number uint64
}

func (i inode) size() int64  { return int64(le.Uint64(i.raw[16:])) }
func (i inode) mode() uint32 { return le.Uint32(i.raw[52:]) }
func (i inode) kind() uint32 { return i.mode() & tree.TypeMask }

func (f *fileSystem) inode(ctx context.Context, id tree.ID) (inode, error) {
	if inodeOf(id) == emptyInode {
		raw := make([]byte, 160)
		le.PutUint32(raw[52:], tree.TypeDir|0o755)
		le.PutUint32(raw[40:], 1)
		return inode{raw: raw, number: emptyInode}, ctx.Err()
	}
	r, err := f.subvolume(ctx, subvolumeOf(id))
	if err != nil {
		return inode{}, err
	}
	b, ok, err := f.get(ctx, r, key{inodeOf(id), kindInode, 0})
	if err == nil && (!ok || len(b) < 160) {
		err = disk.Corrupt(name, fmt.Sprintf("inode %d", inodeOf(id)), "the item is not there, or has %d bytes", len(b))
	}
	if err != nil {
		return inode{}, err
	}
	i := inode{b, r, inodeOf(id)}
	if i.size() < 0 {
		return inode{}, disk.Corrupt(name, fmt.Sprintf("inode %d", i.number), "a size of %d", i.size())
	}
	return i, nil
}

func (f *fileSystem) Stat(ctx context.Context, id tree.ID) (tree.Attr, error) {
	i, err := f.inode(ctx, id)
	if err != nil {
		return tree.Attr{}, err
	}
	b := i.raw
	at := func(off int) tree.Time {
		return tree.At(int64(le.Uint64(b[off:])), min(le.Uint32(b[off+8:]), 999999999))
	}
	used, sector := int64(le.Uint64(b[24:])&^(1<<63)), f.super.sectorSize
	if rest := used % sector; rest > 0 {
		used += sector - rest
	}
	a := tree.Attr{ID: id, Mode: i.mode(), UID: le.Uint32(b[44:]), GID: le.Uint32(b[48:]), Links: le.Uint32(b[40:]),
		Size: i.size(), Allocated: used, Atime: at(112), Ctime: at(124), Mtime: at(136), Btime: at(148)}
	if k := i.kind(); k == tree.TypeChar || k == tree.TypeBlock {
		dev := le.Uint64(b[56:])
		a.Major, a.Minor = uint32(dev>>20&0xFFF), uint32(dev&0xFFFFF)
	}
	return a, nil
}

// dirItem is a name with a target, or an extended attribute with a value.
type dirItem struct {
	target key
	kind   byte
	name   []byte
	value  []byte
}

// dirItems calls fn for the entries of one item, until it returns false.
func dirItems(b []byte, fn func(dirItem) bool) error {
	for len(b) > 0 {
		if len(b) < 30 {
			return disk.Corrupt(name, "directory item", "%d bytes are left over", len(b))
		}
		valueLen, nameLen := int(le.Uint16(b[25:])), int(le.Uint16(b[27:]))
		if 30+valueLen+nameLen > len(b) {
			return disk.Corrupt(name, "directory item", "a name of %d and a value of %d bytes in %d", nameLen, valueLen, len(b))
		}
		d := dirItem{parseKey(b), b[29], b[30 : 30+nameLen], b[30+nameLen : 30+nameLen+valueLen]}
		if !fn(d) {
			return nil
		}
		b = b[30+nameLen+valueLen:]
	}
	return nil
}

var kinds = [...]uint32{0, tree.TypeFile, tree.TypeDir, tree.TypeChar, tree.TypeBlock, tree.TypeFifo, tree.TypeSocket, tree.TypeLink}

// target returns the file that an entry refers to. A snapshot has the entries of the subvolumes in
// its origin, but not these: such an entry is an empty directory, as in the kernel.
func (f *fileSystem) target(ctx context.Context, dir tree.ID, d dirItem) (id tree.ID, kind uint32, err error) {
	if d.target.kind != kindRoot {
		if int(d.kind) < len(kinds) {
			kind = kinds[d.kind]
		}
		if d.target.kind != kindInode || d.target.object < firstInode {
			return 0, 0, disk.Corrupt(name, fmt.Sprintf("inode %d", inodeOf(dir)), "%q refers to object %d, kind %d", d.name,
				d.target.object, d.target.kind)
		}
		id, err = makeID(subvolumeOf(dir), d.target.object)
		return id, kind, err
	}
	b, ok, err := f.get(ctx, f.rootTree, key{subvolumeOf(dir), kindRootRef, d.target.object})
	if err != nil {
		return 0, 0, err
	}
	if !ok || len(b) < 18 || le.Uint64(b) != inodeOf(dir) || string(b[18:]) != string(d.name) {
		id, err = makeID(subvolumeOf(dir), emptyInode)
	} else {
		id, err = makeID(d.target.object, firstInode)
	}
	return id, tree.TypeDir, err
}

// ReadDir lists the entries in the order in which they were made. A cookie is that number.
func (f *fileSystem) ReadDir(ctx context.Context, id tree.ID, cookie uint64, fn func(tree.Entry) bool) error {
	i, err := f.inode(ctx, id)
	switch {
	case err != nil:
		return err
	case i.kind() != tree.TypeDir:
		return tree.ErrNotDir
	case i.number == emptyInode || cookie == 1<<64-1:
		return nil
	}
	return f.scan(ctx, i.tree, key{i.number, kindDirIndex, cookie + 1}, func(k key, b []byte) (bool, error) {
		if k.object != i.number || k.kind != kindDirIndex {
			return false, nil
		}
		more := true
		var failed error
		err := dirItems(b, func(d dirItem) bool {
			target, kind, err := f.target(ctx, id, d)
			if failed = err; err == nil {
				more = fn(tree.Entry{Name: d.name, ID: target, Type: kind, Cookie: k.offset})
			}
			return false // an index has one name
		})
		if err == nil {
			err = failed
		}
		return more, err
	})
}

// Lookup finds a name by its hash.
func (f *fileSystem) Lookup(ctx context.Context, dir tree.ID, wanted []byte) (tree.ID, error) {
	i, err := f.inode(ctx, dir)
	if err != nil {
		return 0, err
	}
	if i.kind() != tree.TypeDir {
		return 0, tree.ErrNotDir
	}
	if i.number == emptyInode {
		return 0, fs.ErrNotExist
	}
	b, ok, err := f.get(ctx, i.tree, key{i.number, kindDirItem, nameHash(wanted)})
	if err != nil {
		return 0, err
	}
	found, failed := tree.ID(0), error(fs.ErrNotExist)
	if ok {
		err = dirItems(b, func(d dirItem) bool {
			if string(d.name) != string(wanted) {
				return true
			}
			found, _, failed = f.target(ctx, dir, d)
			return false
		})
	}
	if err != nil {
		return 0, err
	}
	return found, failed
}

// nameHash is CRC-32C begun with ^1 and not inverted at its end.
func nameHash(name []byte) uint64 {
	return uint64(^crc32.Update(1, crc32.MakeTable(crc32.Castagnoli), name))
}

// Xattrs reads the attributes, whose names have their prefixes on the disk.
func (f *fileSystem) Xattrs(ctx context.Context, id tree.ID) ([]tree.Xattr, error) {
	i, err := f.inode(ctx, id)
	if err != nil || i.number == emptyInode {
		return nil, err
	}
	var list []tree.Xattr
	names := 0
	err = f.scan(ctx, i.tree, key{i.number, kindXattr, 0}, func(k key, b []byte) (bool, error) {
		if k.object != i.number || k.kind != kindXattr {
			return false, nil
		}
		err := dirItems(b, func(d dirItem) bool {
			names += len(d.name) + 1
			list = append(list, tree.Xattr{Name: string(d.name), Value: append([]byte(nil), d.value...)})
			return true
		})
		if names > tree.MaxXattrs && err == nil {
			err = fmt.Errorf("btrfs: inode %d: names of attributes: %d bytes, at most %d: %w", i.number, names, tree.MaxXattrs, tree.ErrLimit)
		}
		return true, err
	})
	return list, err
}

// Readlink reads the inline extent of a link.
func (f *fileSystem) Readlink(ctx context.Context, id tree.ID) ([]byte, error) {
	i, err := f.inode(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case i.kind() != tree.TypeLink:
		return nil, tree.ErrNotLink
	case i.size() > tree.MaxTarget:
		return nil, disk.Corrupt(name, fmt.Sprintf("inode %d", i.number), "a link of %d bytes", i.size())
	}
	target := make([]byte, i.size())
	return target, f.fill(ctx, i, target, 0)
}
