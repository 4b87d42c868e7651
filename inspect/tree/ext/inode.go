package ext

import (
	"context"
	"fmt"
	"io"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

// fileSystem is an open file system.
type fileSystem struct {
	super
	src     disk.Source
	overlay map[int64]replayed // blocks that the journal has newer
	info    tree.Info
	budget  error // that ended the replay
}

var (
	_ tree.Tree       = (*fileSystem)(nil)
	_ tree.Linker     = (*fileSystem)(nil)
	_ tree.Attributer = (*fileSystem)(nil)
	_ tree.Mapper     = (*fileSystem)(nil)
)

func (f *fileSystem) Info() tree.Info { return f.info }
func (f *fileSystem) Root() tree.ID   { return rootInode }

const (
	flagHugeFile = 0x40000
	flagExtents  = 0x80000
	flagEncrypt  = 0x800
	flagInline   = 0x10000000
)

// inode is an inode as it is stored.
type inode struct {
	id    tree.ID
	raw   []byte
	flags uint32
	attr  tree.Attr
}

func (n *inode) place() string { return fmt.Sprintf("inode %d", n.id) }
func (n *inode) block() []byte { return n.raw[40:100] }

// inode reads an inode.
func (f *fileSystem) inode(ctx context.Context, id tree.ID) (*inode, error) {
	n := &inode{id: id}
	if id == 0 || id > tree.ID(f.inodes) {
		return nil, disk.Corrupt("ext", n.place(), "there are %d inodes", f.inodes)
	}
	group, index := int64(id-1)/f.inodesPerGroup, int64(id-1)%f.inodesPerGroup
	table, err := f.inodeTable(ctx, group)
	if err != nil {
		return nil, err
	}
	n.raw = make([]byte, f.inodeSize)
	if err := f.read(ctx, n.raw, table*f.blockSize+index*f.inodeSize, true); err != nil {
		return nil, err
	}
	n.flags = le32(n.raw, 32)
	return n, f.parse(n)
}

// parse fills the attributes.
func (f *fileSystem) parse(n *inode) error {
	p := n.raw
	a := tree.Attr{
		ID: n.id, Mode: uint32(le16(p, 0)), UID: uint32(le16(p, 2)) | uint32(le16(p, 120))<<16, GID: uint32(le16(p, 24)) | uint32(le16(p, 122))<<16,
		Links: uint32(le16(p, 26)), Size: int64(le32(p, 4)) | int64(le32(p, 108))<<32,
	}
	if a.Size < 0 {
		return disk.Corrupt("ext", n.place(), "its size is %d", uint64(a.Size))
	}
	a.Allocated = int64(le32(p, 28)) * 512
	if f.ro&roHugeFile != 0 {
		sectors := int64(le32(p, 28)) | int64(le16(p, 116))<<32
		a.Allocated = sectors * 512
		if n.flags&flagHugeFile != 0 {
			a.Allocated = sectors * f.blockSize
		}
	}
	if n.flags&flagInline != 0 && a.Type() == tree.TypeFile {
		a.Allocated += (a.Size + 511) &^ 511 // as the kernel shows it
	}
	a.Atime, a.Ctime, a.Mtime = n.time(8, 140), n.time(12, 132), n.time(16, 136)
	if n.has(144, 8) {
		a.Btime = n.time(144, 148)
	}
	switch a.Type() {
	case tree.TypeBlock, tree.TypeChar:
		old, large := le32(n.block(), 0), le32(n.block(), 4)
		a.Major, a.Minor = old>>8&0xff, old&0xff
		if old == 0 {
			a.Major, a.Minor = large>>8&0xfff, large&0xff|large>>12&0xfff00
		}
	case 0:
		return disk.Corrupt("ext", n.place(), "it is not in use")
	}
	n.attr = a
	return nil
}

// has reports whether the inode is large enough for n bytes at off.
func (n *inode) has(off, length int) bool {
	return len(n.raw) > 130 && off+length <= 128+int(le16(n.raw, 128)) && off+length <= len(n.raw)
}

func (n *inode) time(sec, extra int) tree.Time {
	t := tree.At(int64(int32(le32(n.raw, sec))), 0)
	if n.has(extra, 4) {
		e := le32(n.raw, extra)
		t.Sec += int64(e&3) << 32
		t.Nsec = min(e>>2, 999_999_999)
	}
	return t
}

// inodeTable returns the first block of a group's inodes.
func (f *fileSystem) inodeTable(ctx context.Context, group int64) (int64, error) {
	perBlock := f.blockSize / f.descSize
	meta := group / perBlock
	at := f.firstBlock + 1 + meta
	if f.incompat&incompatMetaBG != 0 && meta >= f.firstMetaBG {
		first := meta * perBlock
		at = f.firstBlock + first*f.blocksPerGroup
		if f.hasSuper(first) {
			at++
		}
	}
	p := make([]byte, f.descSize)
	if err := f.read(ctx, p, at*f.blockSize+group%perBlock*f.descSize, true); err != nil {
		return 0, err
	}
	table := int64(le32(p, 8))
	if f.descSize >= 64 {
		table |= int64(le32(p, 0x28)) << 32
	}
	if table <= 0 || table >= f.blocks {
		return 0, disk.Corrupt("ext", fmt.Sprintf("descriptor of group %d", group), "its inodes are at block %d of %d", table, f.blocks)
	}
	return table, nil
}

// hasSuper reports whether a group begins with a copy of the superblock.
func (f *fileSystem) hasSuper(group int64) bool {
	switch {
	case group == 0:
		return true
	case f.compat&compatSparse2 != 0:
		return group == int64(f.backups[0]) || group == int64(f.backups[1])
	case f.ro&roSparse == 0 || group == 1:
		return true
	}
	for _, base := range []int64{3, 5, 7} {
		power := base
		for power < group {
			power *= base
		}
		if power == group {
			return true
		}
	}
	return false
}

// Stat returns the attributes of an inode.
func (f *fileSystem) Stat(ctx context.Context, id tree.ID) (tree.Attr, error) {
	n, err := f.inode(ctx, id)
	if err != nil {
		return tree.Attr{}, err
	}
	return n.attr, nil
}

// ReadAt reads a regular file.
func (f *fileSystem) ReadAt(ctx context.Context, id tree.ID, p []byte, off int64) (int, error) {
	n, err := f.inode(ctx, id)
	if err != nil {
		return 0, err
	}
	switch {
	case n.attr.IsDir():
		return 0, tree.ErrIsDir
	case n.attr.Type() != tree.TypeFile:
		return 0, tree.ErrNotFile
	case n.flags&flagEncrypt != 0:
		return 0, disk.Unsupported("ext", "inode %d: encrypted", id)
	}
	if off < 0 || off >= n.attr.Size {
		return 0, io.EOF
	}
	short := int64(len(p)) > n.attr.Size-off
	if short {
		p = p[:n.attr.Size-off]
	}
	if err := f.content(ctx, n, p, off, false); err != nil {
		return 0, err
	}
	if short {
		return len(p), io.EOF
	}
	return len(p), nil
}

// content fills p with the bytes of an inode at off, inside its size.
func (f *fileSystem) content(ctx context.Context, n *inode, p []byte, off int64, meta bool) error {
	if n.flags&flagInline != 0 {
		return f.inlineContent(ctx, n, p, off)
	}
	for len(p) > 0 {
		r, err := f.run(ctx, n, off/f.blockSize)
		if err != nil {
			return err
		}
		within := off % f.blockSize
		q := p[:min(int64(len(p)), r.count*f.blockSize-within)]
		if r.zero {
			clear(q)
		} else if err := f.read(ctx, q, r.at*f.blockSize+within, meta); err != nil {
			return err
		}
		p, off = p[len(q):], off+int64(len(q))
	}
	return nil
}

// inlineContent reads a file that is in its inode: 60 bytes there, the others in an attribute.
func (f *fileSystem) inlineContent(ctx context.Context, n *inode, p []byte, off int64) error {
	data := append([]byte(nil), n.block()...)
	if n.attr.Size > 60 {
		more, err := f.inlineRest(ctx, n)
		if err != nil {
			return err
		}
		data = append(data, more...)
	}
	clear(p)
	if off < int64(len(data)) {
		copy(p, data[off:])
	}
	return nil
}

// Extent returns a run of one state.
func (f *fileSystem) Extent(ctx context.Context, id tree.ID, off, length int64) (formats.Extent, error) {
	n, err := f.inode(ctx, id)
	if err != nil {
		return formats.Extent{}, err
	}
	if n.flags&flagInline != 0 || n.attr.Type() != tree.TypeFile {
		return formats.Extent{Off: off, Len: length, State: formats.Data}, nil
	}
	r, err := f.run(ctx, n, off/f.blockSize)
	if err != nil {
		return formats.Extent{}, err
	}
	e := formats.Extent{Off: off, Len: min(length, r.count*f.blockSize-off%f.blockSize), State: formats.Data}
	if r.zero {
		e.State = formats.Zero
	}
	return e, nil
}

// Readlink returns a target, which is in the inode if it is short.
func (f *fileSystem) Readlink(ctx context.Context, id tree.ID) ([]byte, error) {
	n, err := f.inode(ctx, id)
	if err != nil {
		return nil, err
	}
	if n.attr.Type() != tree.TypeLink {
		return nil, tree.ErrNotLink
	}
	if n.flags&flagEncrypt != 0 {
		return nil, disk.Unsupported("ext", "inode %d: encrypted", id)
	}
	if n.attr.Size > tree.MaxTarget {
		return nil, disk.Corrupt("ext", n.place(), "a link of %d bytes, at most %d", n.attr.Size, tree.MaxTarget)
	}
	p := make([]byte, n.attr.Size)
	if n.attr.Size < 60 && n.flags&(flagExtents|flagInline) == 0 {
		copy(p, n.block())
		return p, nil
	}
	return p, f.content(ctx, n, p, 0, true)
}
