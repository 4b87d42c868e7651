package ext

import (
	"context"
	"fmt"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

// types are the file types in directory entries.
var types = [...]uint32{tree.TypeUnknown, tree.TypeFile, tree.TypeDir, tree.TypeChar, tree.TypeBlock, tree.TypeFifo, tree.TypeSocket, tree.TypeLink}

// ReadDir reads the blocks of a directory one after another. The nodes of a hashed directory look
// like empty entries. A cookie is the offset after an entry.
func (f *fileSystem) ReadDir(ctx context.Context, id tree.ID, cookie uint64, fn func(tree.Entry) bool) error {
	n, err := f.inode(ctx, id)
	if err != nil {
		return err
	}
	switch {
	case !n.attr.IsDir():
		return tree.ErrNotDir
	case n.flags&flagEncrypt != 0:
		return disk.Unsupported("ext", "inode %d: encrypted", id)
	case n.flags&flagInline != 0:
		return f.inlineDir(ctx, n, cookie, fn)
	}
	block := make([]byte, f.blockSize)
	for off := int64(cookie); off >= 0 && off < n.attr.Size; off += f.blockSize - off%f.blockSize {
		base := off - off%f.blockSize
		r, err := f.run(ctx, n, base/f.blockSize)
		if err != nil {
			return err
		}
		if r.zero {
			off = base + (r.count-1)*f.blockSize // the loop adds the last one
			continue
		}
		if err := f.read(ctx, block, r.at*f.blockSize, true); err != nil {
			return err
		}
		more, err := f.entries(n, block, off-base, base, fn)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// entries calls fn for the entries of p from an offset on. base is the cookie of its beginning.
func (f *fileSystem) entries(n *inode, p []byte, from, base int64, fn func(tree.Entry) bool) (more bool, err error) {
	place := func(at int64) string { return fmt.Sprintf("%s, directory entry at %d", n.place(), base+at) }
	for at := from; at < int64(len(p)); {
		if at+8 > int64(len(p)) {
			return false, disk.Corrupt("ext", place(at), "it is cut off")
		}
		length := int64(le16(p, int(at)+4))
		if len(p) == 1<<16 && (length == 0 || length == 0xffff) {
			length = 1 << 16
		} else if len(p) > 1<<16-1 {
			length = length&^3 | length&3<<16
		}
		name := int64(p[at+6])
		if f.incompat&incompatFiletype == 0 {
			name = int64(le16(p, int(at)+6))
		}
		if length < 8 || length%4 != 0 || length > int64(len(p))-at || 8+name > length {
			return false, disk.Corrupt("ext", place(at), "its length is %d, its name's %d", length, name)
		}
		e := tree.Entry{Name: p[at+8:][:name], ID: tree.ID(le32(p, int(at))), Cookie: uint64(base + at + length)}
		if kind := p[at+7]; f.incompat&incompatFiletype != 0 && int(kind) < len(types) {
			e.Type = types[kind]
		}
		at += length
		if e.ID == 0 || string(e.Name) == "." || string(e.Name) == ".." {
			continue
		}
		if !fn(e) {
			return false, nil
		}
	}
	return true, nil
}

// inlineDir reads a directory in its inode. It begins with the parent's number.
func (f *fileSystem) inlineDir(ctx context.Context, n *inode, cookie uint64, fn func(tree.Entry) bool) error {
	if cookie < 60 {
		more, err := f.entries(n, n.block(), max(4, int64(cookie)), 0, fn)
		if err != nil || !more {
			return err
		}
		cookie = 60
	}
	rest, err := f.inlineRest(ctx, n)
	if err != nil || int64(cookie)-60 >= int64(len(rest)) {
		return err
	}
	_, err = f.entries(n, rest, int64(cookie)-60, 60, fn)
	return err
}
