package xfs

import (
	"context"
	"fmt"
	"io"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

const (
	formatDevice = iota
	formatLocal
	formatExtents
	formatTree

	flagRealtime   = 0x1
	flag2BigTime   = 0x8
	flag2ManyExts  = 0x10
	epochOfBigTime = -1 << 31
)

// fork is the data or the attributes of an inode.
type fork struct {
	place   string
	format  uint8
	bytes   []byte
	extents uint64
}

// inode is an inode as it is stored.
type inode struct {
	attr       tree.Attr
	realtime   bool
	data, more fork
}

var (
	_ tree.Tree       = (*fileSystem)(nil)
	_ tree.Finder     = (*fileSystem)(nil)
	_ tree.Linker     = (*fileSystem)(nil)
	_ tree.Attributer = (*fileSystem)(nil)
	_ tree.Mapper     = (*fileSystem)(nil)
)

// inode reads an inode, whose number is its place: group, block, index.
func (f *fileSystem) inode(ctx context.Context, id tree.ID) (*inode, error) {
	place := fmt.Sprintf("inode %d", id)
	at, err := f.position(uint64(id)>>f.inodeBits, 1)
	if err != nil {
		return nil, disk.Corrupt("xfs", place, "%v", err)
	}
	p := make([]byte, f.inodeSize)
	if err := f.src.ReadMeta(ctx, p, at+int64(id&(1<<f.inodeBits-1))*f.inodeSize); err != nil {
		return nil, err
	}
	switch {
	case be16(p, 0) != inodeMagic:
		return nil, disk.Corrupt("xfs", place, "the magic is 0x%x, not 0x%x", be16(p, 0), inodeMagic)
	case p[4] < 1 || p[4] > 3 || (p[4] == 3) != f.v5:
		return nil, disk.Corrupt("xfs", place, "the version is %d", p[4])
	case be16(p, 2) == 0:
		return nil, disk.Corrupt("xfs", place, "it is free")
	case be64(p, 56) > 1<<63-1 || be64(p, 64) > uint64(f.blocks):
		return nil, disk.Corrupt("xfs", place, "size %d, blocks %d of %d", be64(p, 56), be64(p, 64), f.blocks)
	case f.v5 && be64(p, 152) != uint64(id):
		return nil, disk.Corrupt("xfs", place, "it has the number %d", be64(p, 152))
	}
	n := &inode{realtime: be16(p, 90)&flagRealtime != 0}
	return n, f.parse(n, p, id, place)
}

func (f *fileSystem) parse(n *inode, p []byte, id tree.ID, place string) error {
	head, flags2 := int64(100), uint64(0)
	if p[4] == 3 {
		head, flags2 = 176, be64(p, 120)
	}
	when := func(at int64) tree.Time {
		if flags2&flag2BigTime != 0 {
			v := be64(p, at)
			return tree.At(int64(v/1e9)+epochOfBigTime, uint32(v%1e9))
		}
		return tree.At(int64(int32(be32(p, at))), be32(p, at+4)%1e9)
	}
	n.attr = tree.Attr{ID: id, Mode: uint32(be16(p, 2)), UID: be32(p, 8), GID: be32(p, 12), Links: be32(p, 16),
		Size: int64(be64(p, 56)), Allocated: int64(be64(p, 64)) * f.blockSize,
		Atime: when(32), Mtime: when(40), Ctime: when(48)}
	if p[4] == 1 {
		n.attr.Links = uint32(be16(p, 6))
	}
	if p[4] == 3 {
		n.attr.Btime = when(144)
	}
	n.data = fork{place: place, format: p[5], extents: uint64(be32(p, 76))}
	n.more = fork{place: place + ", attributes", format: p[83], extents: uint64(be16(p, 80))}
	if flags2&flag2ManyExts != 0 {
		n.data.extents, n.more.extents = be64(p, 24), uint64(be32(p, 76))
	}
	end := f.inodeSize
	if offset := int64(p[82]) * 8; offset != 0 {
		if end = head + offset; end >= f.inodeSize {
			return disk.Corrupt("xfs", place, "forkoff is %d, the inode has %d bytes", p[82], f.inodeSize)
		}
		n.more.bytes = p[end:]
	}
	n.data.bytes = p[head:end]
	if kind := n.attr.Type(); kind == tree.TypeChar || kind == tree.TypeBlock {
		if len(n.data.bytes) < 4 {
			return disk.Corrupt("xfs", place, "no room for the device's number")
		}
		device := be32(n.data.bytes, 0)
		n.attr.Major, n.attr.Minor = device>>18, device&0x3ffff
	}
	return nil
}

// Stat returns the attributes of a file.
func (f *fileSystem) Stat(ctx context.Context, id tree.ID) (tree.Attr, error) {
	n, err := f.inode(ctx, id)
	if err != nil {
		return tree.Attr{}, err
	}
	return n.attr, nil
}

// file reads the inode of a regular file.
func (f *fileSystem) file(ctx context.Context, id tree.ID) (*inode, error) {
	n, err := f.inode(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case n.attr.IsDir():
		return nil, tree.ErrIsDir
	case n.attr.Type() != tree.TypeFile:
		return nil, tree.ErrNotFile
	case n.realtime:
		return nil, disk.Unsupported("xfs", "%s: a file on the realtime device", n.data.place)
	}
	return n, nil
}

// ReadAt reads the data of a regular file.
func (f *fileSystem) ReadAt(ctx context.Context, id tree.ID, p []byte, off int64) (int, error) {
	n, err := f.file(ctx, id)
	if err != nil {
		return 0, err
	}
	if off < 0 || off >= n.attr.Size {
		return 0, io.EOF
	}
	want := int(min(int64(len(p)), n.attr.Size-off))
	for done := 0; done < want; {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		at, length, zero, err := f.piece(ctx, n, off+int64(done), int64(want-done))
		if err != nil {
			return done, err
		}
		q := p[done : done+int(length)]
		if zero {
			clear(q)
		} else if err := f.src.ReadAt(ctx, q, at); err != nil {
			return done, err
		}
		done += len(q)
	}
	if want < len(p) {
		return want, io.EOF
	}
	return want, nil
}

// piece returns the place of at most length bytes of a file.
func (f *fileSystem) piece(ctx context.Context, n *inode, off, length int64) (at, got int64, zero bool, err error) {
	block, within := off/f.blockSize, off%f.blockSize
	r, err := f.run(ctx, &n.data, block, (within+length-1)/f.blockSize+1)
	if err != nil {
		return 0, 0, false, err
	}
	got = length
	if r.count <= (within+length-1)/f.blockSize {
		got = r.count*f.blockSize - within
	}
	return r.at + within, got, r.zero, nil
}

// Extent returns a run of data or zeros.
func (f *fileSystem) Extent(ctx context.Context, id tree.ID, off, length int64) (formats.Extent, error) {
	n, err := f.file(ctx, id)
	if err != nil {
		return formats.Extent{}, err
	}
	_, got, zero, err := f.piece(ctx, n, off, length)
	e := formats.Extent{Off: off, Len: got, State: formats.Data}
	if zero {
		e.State = formats.Zero
	}
	return e, err
}

// Readlink returns the target. A long one of version 5 has a header in each of its extents.
func (f *fileSystem) Readlink(ctx context.Context, id tree.ID) ([]byte, error) {
	n, err := f.inode(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case n.attr.Type() != tree.TypeLink:
		return nil, tree.ErrNotLink
	case n.attr.Size > tree.MaxTarget:
		return nil, disk.Corrupt("xfs", n.data.place, "the link has %d bytes", n.attr.Size)
	case n.data.format == formatLocal:
		if n.attr.Size > int64(len(n.data.bytes)) {
			return nil, disk.Corrupt("xfs", n.data.place, "the link has %d bytes, the fork %d", n.attr.Size, len(n.data.bytes))
		}
		return n.data.bytes[:n.attr.Size], nil
	}
	target := make([]byte, 0, n.attr.Size)
	head := int64(0)
	if f.v5 {
		head = 56
	}
	for block := int64(0); int64(len(target)) < n.attr.Size; {
		r, err := f.run(ctx, &n.data, block, 16)
		if err != nil {
			return nil, err
		}
		if r.zero {
			return nil, disk.Corrupt("xfs", n.data.place, "the link has no block %d", block)
		}
		p := make([]byte, min(r.count*f.blockSize-head, n.attr.Size-int64(len(target))))
		if err := f.src.ReadMeta(ctx, p, r.at+head); err != nil {
			return nil, err
		}
		target, block = append(target, p...), block+r.count
	}
	return target, nil
}
