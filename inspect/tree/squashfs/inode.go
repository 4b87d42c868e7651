package squashfs

import (
	"context"
	"fmt"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

// types are the file types of inodes; an extended inode has a number higher by 7.
var types = [...]uint32{0, tree.TypeDir, tree.TypeFile, tree.TypeLink, tree.TypeBlock, tree.TypeChar, tree.TypeFifo, tree.TypeSocket}

// inode is an inode of any type.
type inode struct {
	attr   tree.Attr
	xattr  uint32 // none if there is none
	start  uint64 // of data, or of the listing in the directory table
	offset int    // of the listing in its block, or of the data in the fragment
	frag   uint32 // none if there is none
	uids   [2]uint16
	rest   cursor // after the inode: block sizes of a file, target of a link
}

// sizes of the fields after the 16 bytes that all inodes have.
var fieldSizes = [...]int{0, 16, 16, 8, 8, 8, 4, 4, 24, 40, 8, 12, 12, 8, 8}

func (f *fileSystem) inode(ctx context.Context, id tree.ID) (*inode, error) {
	place := fmt.Sprintf("inode 0x%x", uint64(id))
	c := f.meta(f.table(inodeTable), uint64(id)>>16, int(id&0xFFFF))
	b, err := c.next(ctx, 16)
	if err != nil {
		return nil, err
	}
	kind := int(le.Uint16(b))
	if kind == 0 || kind >= len(fieldSizes) {
		return nil, disk.Corrupt(name, place, "type %d: 1 to 14 are possible", kind)
	}
	extended := kind > 7
	i := &inode{xattr: none, frag: none, uids: [2]uint16{le.Uint16(b[4:]), le.Uint16(b[6:])}}
	i.attr = tree.Attr{ID: id, Mode: types[(kind-1)%7+1] | uint32(le.Uint16(b[2:]))&0o7777, Links: 1,
		Mtime: tree.At(int64(le.Uint32(b[8:])), 0)}
	v, err := c.next(ctx, fieldSizes[kind])
	if err != nil {
		return nil, err
	}
	switch i.attr.Type() {
	case tree.TypeDir:
		i.directory(v, extended)
	case tree.TypeFile:
		i.file(v, extended)
	default:
		i.other(v, extended)
	}
	i.rest = *c
	if i.attr.Size < 0 || i.attr.Type() == tree.TypeLink && i.attr.Size > tree.MaxTarget {
		return nil, disk.Corrupt(name, place, "a size of %d", i.attr.Size)
	}
	if extended && i.attr.Type() == tree.TypeLink { // the number of its attributes is after the target
		if err := c.pass(ctx, i.attr.Size, func([]byte) {}); err != nil {
			return nil, err
		}
		if v, err = c.next(ctx, 4); err != nil {
			return nil, err
		}
		i.xattr = le.Uint32(v)
	}
	return i, nil
}

func (i *inode) directory(v []byte, extended bool) {
	if extended {
		i.attr.Links, i.attr.Size = le.Uint32(v), int64(le.Uint32(v[4:]))
		i.start, i.offset, i.xattr = uint64(le.Uint32(v[8:])), int(le.Uint16(v[18:])), le.Uint32(v[20:])
		return
	}
	i.start, i.attr.Links = uint64(le.Uint32(v)), le.Uint32(v[4:])
	i.attr.Size, i.offset = int64(le.Uint16(v[8:])), int(le.Uint16(v[10:]))
}

func (i *inode) file(v []byte, extended bool) {
	if extended {
		i.start, i.attr.Size = le.Uint64(v), int64(le.Uint64(v[8:]))
		i.attr.Links, i.frag, i.offset, i.xattr = le.Uint32(v[24:]), le.Uint32(v[28:]), int(le.Uint32(v[32:])), le.Uint32(v[36:])
		i.attr.Allocated = max(0, i.attr.Size-int64(le.Uint64(v[16:])&^(1<<63)))
		return
	}
	i.start, i.frag, i.offset = uint64(le.Uint32(v)), le.Uint32(v[4:]), int(le.Uint32(v[8:]))
	i.attr.Size = int64(le.Uint32(v[12:]))
	i.attr.Allocated = i.attr.Size
}

// other sets the fields of links, devices, fifos and sockets.
func (i *inode) other(v []byte, extended bool) {
	i.attr.Links = le.Uint32(v)
	switch i.attr.Type() {
	case tree.TypeLink:
		i.attr.Size = int64(le.Uint32(v[4:]))
		return
	case tree.TypeBlock, tree.TypeChar:
		dev := le.Uint32(v[4:])
		i.attr.Major, i.attr.Minor = dev>>8&0xFFF, dev&0xFF|dev>>12&0xFFF00
	}
	if extended {
		i.xattr = le.Uint32(v[len(v)-4:])
	}
}

// Stat resolves the owners in the table of IDs. Only the modification time is recorded.
func (f *fileSystem) Stat(ctx context.Context, id tree.ID) (tree.Attr, error) {
	i, err := f.inode(ctx, id)
	if err != nil {
		return tree.Attr{}, err
	}
	for n, to := range []*uint32{&i.attr.UID, &i.attr.GID} {
		if i.uids[n] >= le.Uint16(f.raw[26:]) {
			return tree.Attr{}, disk.Corrupt(name, "inode", "owner %d: the table has %d", i.uids[n], le.Uint16(f.raw[26:]))
		}
		b, err := f.entry(ctx, f.table(idTable), uint64(i.uids[n]), 4)
		if err != nil {
			return tree.Attr{}, err
		}
		*to = le.Uint32(b)
	}
	return i.attr, nil
}

// ReadDir follows the runs of a listing: a header, then up to 256 names with inodes in one metadata
// block. A cookie is the place of the run in the listing, and the number of the entry in it.
func (f *fileSystem) ReadDir(ctx context.Context, id tree.ID, cookie uint64, fn func(tree.Entry) bool) error {
	i, err := f.inode(ctx, id)
	if err != nil {
		return err
	}
	if !i.attr.IsDir() {
		return tree.ErrNotDir
	}
	c := f.meta(f.table(directoryTable), i.start, i.offset)
	pos, end, skip := int64(cookie>>16), i.attr.Size-3, int(cookie&0xFFFF)
	if err := c.pass(ctx, min(pos, max(0, end)), func([]byte) {}); err != nil {
		return err
	}
	buf := make([]byte, 256)
	for run := pos; run < end; run, skip = pos, 0 {
		head, err := c.next(ctx, 12)
		if err != nil {
			return err
		}
		pos += 12
		count := int64(le.Uint32(head)) + 1
		if count > 256 {
			return disk.Corrupt(name, fmt.Sprintf("directory 0x%x", uint64(id)), "a run of %d names: at most 256 are possible", count)
		}
		for n := range int(count) {
			e, err := c.next(ctx, 8)
			if err != nil {
				return err
			}
			size := int(le.Uint16(e[6:])) + 1
			if pos += 8 + int64(size); size > 256 || pos > end {
				return disk.Corrupt(name, fmt.Sprintf("directory 0x%x", uint64(id)), "a name of %d bytes ends at %d of %d", size, pos, end)
			}
			if err := c.read(ctx, buf[:size]); err != nil {
				return err
			}
			kind := uint32(tree.TypeUnknown)
			if t := le.Uint16(e[4:]); int(t) < len(types) {
				kind = types[t]
			}
			if n >= skip && !fn(tree.Entry{Name: buf[:size], ID: tree.ID(le.Uint32(head[4:]))<<16 | tree.ID(le.Uint16(e)),
				Type: kind, Cookie: uint64(run)<<16 | uint64(n+1)}) {
				return nil
			}
		}
	}
	return nil
}

// Readlink reads the target after the inode.
func (f *fileSystem) Readlink(ctx context.Context, id tree.ID) ([]byte, error) {
	i, err := f.inode(ctx, id)
	if err != nil {
		return nil, err
	}
	if i.attr.Type() != tree.TypeLink {
		return nil, tree.ErrNotLink
	}
	return i.rest.next(ctx, int(i.attr.Size))
}

// prefixes are those of the attribute types.
var prefixes = [...]string{"user.", "trusted.", "security."}

// Xattrs reads the attributes of a file, which identical files share. A large value that several
// have is stored once, and its place in the others.
func (f *fileSystem) Xattrs(ctx context.Context, id tree.ID) ([]tree.Xattr, error) {
	i, err := f.inode(ctx, id)
	if err != nil || i.xattr == none {
		return nil, err
	}
	index := f.table(xattrTable)
	head := make([]byte, 16)
	if !disk.Within(index, 16, f.src.Size()) {
		return nil, disk.Corrupt(name, "xattr table", "it is at %d, the disk has %d bytes", index, f.src.Size())
	}
	if err := f.src.ReadMeta(ctx, head, index); err != nil {
		return nil, err
	}
	if i.xattr >= le.Uint32(head[8:]) {
		return nil, disk.Corrupt(name, "xattr table", "entry %d of %d", i.xattr, le.Uint32(head[8:]))
	}
	e, err := f.entry(ctx, index+16, uint64(i.xattr), 16)
	if err != nil {
		return nil, err
	}
	table := int64(le.Uint64(head))
	c := f.meta(table, le.Uint64(e)>>16, int(le.Uint64(e)&0xFFFF))
	var list []tree.Xattr
	names := 0
	for range le.Uint32(e[8:]) {
		x, err := f.xattr(ctx, c, table)
		if err != nil {
			return nil, err
		}
		if names += len(x.Name) + 1; names > tree.MaxXattrs {
			return nil, disk.Corrupt(name, "xattr table", "names of more than %d bytes", tree.MaxXattrs)
		}
		list = append(list, x)
	}
	return list, nil
}

func (f *fileSystem) xattr(ctx context.Context, c *cursor, table int64) (x tree.Xattr, err error) {
	b, err := c.next(ctx, 4)
	if err != nil {
		return x, err
	}
	kind := le.Uint16(b)
	if int(kind&0xFF) >= len(prefixes) {
		return x, disk.Unsupported(name, "attributes of type %d", kind)
	}
	label, err := c.next(ctx, int(le.Uint16(b[2:])))
	if err != nil {
		return x, err
	}
	x.Name = prefixes[kind&0xFF] + string(label)
	if x.Value, err = f.xattrValue(ctx, c); err == nil && kind&0x100 != 0 {
		if len(x.Value) != 8 {
			return x, disk.Corrupt(name, "xattr table", "the place of a value has %d bytes", len(x.Value))
		}
		at := le.Uint64(x.Value)
		x.Value, err = f.xattrValue(ctx, f.meta(table, at>>16, int(at&0xFFFF)))
	}
	return x, err
}

func (f *fileSystem) xattrValue(ctx context.Context, c *cursor) ([]byte, error) {
	b, err := c.next(ctx, 4)
	if err != nil {
		return nil, err
	}
	if n := le.Uint32(b); n > tree.MaxXattrs {
		return nil, disk.Corrupt(name, "xattr table", "a value of %d bytes: at most %d are possible", n, tree.MaxXattrs)
	}
	return c.next(ctx, int(le.Uint32(b)))
}
