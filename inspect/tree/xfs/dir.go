package xfs

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

// dataEnd is the offset in a directory at which its hashes begin.
const dataEnd = 32 << 30

var types = [...]uint32{tree.TypeUnknown, tree.TypeFile, tree.TypeDir, tree.TypeChar, tree.TypeBlock, tree.TypeFifo,
	tree.TypeSocket, tree.TypeLink}

// kind returns the type in p, which is empty if entries have none.
func kind(p []byte) uint32 {
	if len(p) == 0 || int(p[0]) >= len(types) {
		return tree.TypeUnknown
	}
	return types[p[0]]
}

func (f *fileSystem) typeBytes() int64 {
	if f.fileType {
		return 1
	}
	return 0
}

// ReadDir reads the entries in the order of their offsets. A cookie is the offset after an entry.
func (f *fileSystem) ReadDir(ctx context.Context, id tree.ID, cookie uint64, fn func(tree.Entry) bool) error {
	n, err := f.inode(ctx, id)
	switch {
	case err != nil:
		return err
	case !n.attr.IsDir():
		return tree.ErrNotDir
	case n.data.format == formatLocal:
		return f.shortDir(n, cookie, fn)
	}
	end := min(n.attr.Size, dataEnd)
	block := make([]byte, f.dirBlockSize)
	for off := int64(min(cookie, dataEnd)); off < end; off += f.dirBlockSize - off%f.dirBlockSize {
		base := off - off%f.dirBlockSize
		r, err := f.run(ctx, &n.data, base/f.blockSize, (end-base)/f.blockSize+1)
		if err != nil {
			return err
		}
		if r.zero { // data blocks that were given back
			off = base + max(0, (r.count*f.blockSize/f.dirBlockSize-1)*f.dirBlockSize)
			continue
		}
		ok, err := f.blocksOf(ctx, &n.data, block, base/f.blockSize)
		if err != nil {
			return err
		}
		if !ok {
			return disk.Corrupt("xfs", n.data.place, "the directory has a hole in the block at %d", base)
		}
		more, err := f.entries(n, block, off-base, base, fn)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// shortDir reads a directory inside its inode.
func (f *fileSystem) shortDir(n *inode, cookie uint64, fn func(tree.Entry) bool) error {
	p := n.data.bytes
	if n.attr.Size < int64(len(p)) {
		p = p[:n.attr.Size]
	}
	if len(p) < 6 {
		return disk.Corrupt("xfs", n.data.place, "a directory of %d bytes", len(p))
	}
	count, wide := int(p[0]), int64(4)
	if p[1] != 0 {
		wide = 8
	}
	at := 2 + wide
	for range count {
		if at+3 > int64(len(p)) {
			return disk.Corrupt("xfs", n.data.place, "directory entry at %d: it is cut off", at)
		}
		name := at + 3
		after := name + int64(p[at])
		next := after + f.typeBytes() + wide
		if next > int64(len(p)) {
			return disk.Corrupt("xfs", n.data.place, "directory entry at %d: it is cut off", at)
		}
		if uint64(at) >= cookie {
			number := uint64(be32(p, next-wide))
			if wide == 8 {
				number = be64(p, next-wide)
			}
			if !fn(tree.Entry{Name: p[name:after], ID: tree.ID(number), Type: kind(p[after : next-wide]), Cookie: uint64(next)}) {
				return nil
			}
		}
		at = next
	}
	return nil
}

// bounds returns where the entries of a directory's block begin and end.
func (f *fileSystem) bounds(n *inode, p []byte, base int64) (first, end int64, err error) {
	end = int64(len(p))
	switch magic := string(p[:4]); {
	case !f.v5 && (magic == "XD2D" || magic == "XD2B"):
		first = 16
	case f.v5 && (magic == "XDD3" || magic == "XDB3"):
		first = 64
	default:
		return 0, 0, disk.Corrupt("xfs", n.data.place, "the directory's block at %d has the magic %q", base, p[:4])
	}
	if string(p[:4]) == "XD2B" || string(p[:4]) == "XDB3" {
		count := int64(be32(p, end-8))
		if end -= 8 + count*8; end < first {
			return 0, 0, disk.Corrupt("xfs", n.data.place, "the directory's block has %d hashes", count)
		}
	}
	return first, end, nil
}

// entries calls fn for the entries of a block from an offset on.
func (f *fileSystem) entries(n *inode, p []byte, from, base int64, fn func(tree.Entry) bool) (bool, error) {
	first, end, err := f.bounds(n, p, base)
	if err != nil {
		return false, err
	}
	for at := max(first, from); at < end; {
		if at%8 != 0 || at+12 > end {
			return false, disk.Corrupt("xfs", n.data.place, "directory entry at %d: it is cut off", base+at)
		}
		if be16(p, at) == 0xffff {
			length := int64(be16(p, at+2))
			if length < 8 || length%8 != 0 || length > end-at {
				return false, disk.Corrupt("xfs", n.data.place, "directory entry at %d: unused, %d bytes", base+at, length)
			}
			at += length
			continue
		}
		name := at + 9
		after := name + int64(p[at+8])
		next := (after + f.typeBytes() + 2 + 7) &^ 7
		if next > end {
			return false, disk.Corrupt("xfs", n.data.place, "directory entry at %d: it is cut off", base+at)
		}
		e := tree.Entry{Name: p[name:after], ID: tree.ID(be64(p, at)), Cookie: uint64(base + next)}
		e.Type = kind(p[after : after+f.typeBytes()])
		at = next
		if string(e.Name) != "." && string(e.Name) != ".." && !fn(e) {
			return false, nil
		}
	}
	return true, nil
}

// Lookup finds a name by its hash in a directory that has hashes, and by reading all of another.
func (f *fileSystem) Lookup(ctx context.Context, id tree.ID, name []byte) (tree.ID, error) {
	n, err := f.inode(ctx, id)
	if err != nil {
		return 0, err
	}
	if !n.attr.IsDir() {
		return 0, tree.ErrNotDir
	}
	if n.data.format != formatLocal && n.attr.Size > f.dirBlockSize && !f.fold {
		return f.hashed(ctx, n, name)
	}
	var found tree.ID
	missing := true
	err = f.ReadDir(ctx, id, 0, func(e tree.Entry) bool {
		if bytes.Equal(e.Name, name) || f.fold && bytes.Equal(lower(e.Name), lower(name)) {
			found, missing = e.ID, false
		}
		return missing
	})
	if err == nil && missing {
		err = fs.ErrNotExist
	}
	return found, err
}

// lower folds ASCII letters, as a file system made with -n version=ci does.
func lower(name []byte) []byte {
	folded := bytes.Clone(name)
	for i, c := range folded {
		if c >= 'A' && c <= 'Z' {
			folded[i] = c + 'a' - 'A'
		}
	}
	return folded
}

// hash returns the hash of a name.
func hash(name []byte) uint32 {
	h := uint32(0)
	for _, c := range name {
		h = uint32(c) ^ (h<<7 | h>>25)
	}
	return h
}

// hashed walks down the hashes to the first leaf that can have the name, and along the leaves.
func (f *fileSystem) hashed(ctx context.Context, n *inode, name []byte) (tree.ID, error) {
	want := hash(name)
	p, block := make([]byte, f.dirBlockSize), int64(dataEnd)/f.blockSize
	head, at := int64(16), int64(12)
	if f.v5 {
		head, at = 64, 56
	}
	level := int64(-1)
	for range 1 << 16 {
		ok, err := f.blocksOf(ctx, &n.data, p, block)
		if err != nil {
			return 0, err
		}
		place := fmt.Sprintf("%s, hashes at block %d", n.data.place, block)
		count := int64(be16(p, at))
		if !ok || count > (int64(len(p))-head)/8 {
			return 0, disk.Corrupt("xfs", place, "a hole, or %d hashes", count)
		}
		switch magic := be16(p, 8); magic {
		case 0xfebe, 0x3ebe:
			l := int64(be16(p, at+2))
			if level >= 0 && l != level-1 || l < 1 || l > maxLevel || count == 0 {
				return 0, disk.Corrupt("xfs", place, "level %d below %d, %d hashes", l, level, count)
			}
			level = l
			i := int64(0)
			for i < count && be32(p, head+i*8) < want {
				i++
			}
			if i == count {
				return 0, fs.ErrNotExist
			}
			block = int64(be32(p, head+i*8+4))
		case 0xd2f1, 0xd2ff, 0x3df1, 0x3dff:
			level = 0
			id, done, err := f.leaf(ctx, n, p[head:head+count*8], want, name)
			if err != nil || done {
				return id, err
			}
			if block = int64(be32(p, 0)); block == 0 {
				return 0, fs.ErrNotExist
			}
		default:
			return 0, disk.Corrupt("xfs", place, "the magic is 0x%x", magic)
		}
	}
	return 0, disk.Corrupt("xfs", n.data.place, "the leaves of its hashes are a ring")
}

// leaf looks for a name in a leaf. It is done when no later leaf can have the name.
func (f *fileSystem) leaf(ctx context.Context, n *inode, hashes []byte, want uint32, name []byte) (tree.ID, bool, error) {
	block := make([]byte, f.dirBlockSize)
	for i := int64(0); i < int64(len(hashes)); i += 8 {
		h, address := be32(hashes, i), int64(be32(hashes, i+4))*8
		if h > want {
			return 0, true, fs.ErrNotExist
		}
		if h != want || address == 0 {
			continue
		}
		base := address - address%f.dirBlockSize
		ok, err := f.blocksOf(ctx, &n.data, block, base/f.blockSize)
		if err == nil && !ok {
			err = disk.Corrupt("xfs", n.data.place, "a hash leads to a hole at %d", address)
		}
		if err != nil {
			return 0, true, err
		}
		var found tree.ID
		equal := false
		_, err = f.entries(n, block, address-base, base, func(e tree.Entry) bool {
			found, equal = e.ID, bytes.Equal(e.Name, name)
			return false
		})
		if err != nil || equal {
			return found, true, err
		}
	}
	return 0, false, nil
}
