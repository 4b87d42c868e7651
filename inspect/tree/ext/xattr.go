package ext

import (
	"context"
	"encoding/binary"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

const (
	xattrMagic = 0xea020000
	systemData = "system.data" // the rest of an inline file
)

// Xattrs returns the attributes in the inode and in its attribute block.
func (f *fileSystem) Xattrs(ctx context.Context, id tree.ID) ([]tree.Xattr, error) {
	n, err := f.inode(ctx, id)
	if err != nil {
		return nil, err
	}
	all, err := f.xattrs(ctx, n)
	var list []tree.Xattr
	for _, x := range all {
		if x.Name == systemData {
			continue
		}
		if x.Name == "system.posix_acl_access" || x.Name == "system.posix_acl_default" {
			if x.Value, err = acl(n, x.Value); err != nil {
				return list, err
			}
		}
		list = append(list, x)
	}
	return list, err
}

// inlineRest returns the part of an inline file that does not fit into the block pointers.
func (f *fileSystem) inlineRest(ctx context.Context, n *inode) ([]byte, error) {
	all, err := f.xattrs(ctx, n)
	for _, x := range all {
		if x.Name == systemData {
			return x.Value, nil
		}
	}
	return nil, err
}

func (f *fileSystem) xattrs(ctx context.Context, n *inode) ([]tree.Xattr, error) {
	var list []tree.Xattr
	if len(n.raw) > 132 {
		if at := 128 + int(le16(n.raw, 128)); at+4 <= len(n.raw) && at >= 130 && le32(n.raw, at) == xattrMagic {
			if err := f.xattrEntries(ctx, n, n.raw[at+4:], 0, &list); err != nil {
				return list, err
			}
		}
	}
	block := int64(le32(n.raw, 104))
	if f.incompat&incompat64Bit != 0 {
		block |= int64(le16(n.raw, 118)) << 32
	}
	if block == 0 {
		return list, nil
	}
	if block >= f.blocks {
		return list, disk.Corrupt("ext", n.place(), "attributes at block %d of %d", block, f.blocks)
	}
	p := make([]byte, f.blockSize)
	if err := f.read(ctx, p, block*f.blockSize, true); err != nil {
		return list, err
	}
	if le32(p, 0) != xattrMagic {
		return list, disk.Corrupt("ext", n.place(), "the magic of its attribute block is %#x", le32(p, 0))
	}
	return list, f.xattrEntries(ctx, n, p, 32, &list)
}

var xattrPrefixes = [...]string{"", "user.", "system.posix_acl_access", "system.posix_acl_default", "trusted.", "", "security.", "system.", "system.richacl"}

// xattrEntries reads entries from an offset on. The offsets of values count from p's beginning.
func (f *fileSystem) xattrEntries(ctx context.Context, n *inode, p []byte, at int, list *[]tree.Xattr) error {
	for at+16 <= len(p) && le32(p, at) != 0 {
		nameLen, index := int(p[at]), int(p[at+1])
		off, inum, size := int(le16(p, at+2)), le32(p, at+4), int64(le32(p, at+8))
		if at+16+nameLen > len(p) || index >= len(xattrPrefixes) || size > tree.MaxXattrs {
			return disk.Corrupt("ext", n.place(), "an attribute's name has %d bytes, index %d, its value %d bytes", nameLen, index, size)
		}
		x := tree.Xattr{Name: xattrPrefixes[index] + string(p[at+16:][:nameLen])}
		switch {
		case inum != 0:
			value, err := f.inode(ctx, tree.ID(inum))
			if err != nil {
				return err
			}
			if value.attr.Type() != tree.TypeFile || value.attr.Size < size || value.flags&flagInline != 0 {
				return disk.Corrupt("ext", n.place(), "an attribute's value is in inode %d, which does not hold it", inum)
			}
			x.Value = make([]byte, size)
			if err := f.content(ctx, value, x.Value, 0, true); err != nil {
				return err
			}
		case size > 0:
			if int64(off)+size > int64(len(p)) {
				return disk.Corrupt("ext", n.place(), "an attribute's value is at [%d, +%d) of %d bytes", off, size, len(p))
			}
			x.Value = append([]byte(nil), p[off:int64(off)+size]...)
		}
		*list = append(*list, x)
		at += (16 + nameLen + 3) &^ 3
	}
	return nil
}

// acl returns an ACL in the form of the kernel's attributes.
func acl(n *inode, p []byte) ([]byte, error) {
	if len(p) < 4 || le32(p, 0) != 1 {
		return nil, disk.Corrupt("ext", n.place(), "an ACL of %d bytes of another version", len(p))
	}
	out := []byte{2, 0, 0, 0}
	for p = p[4:]; len(p) >= 4; {
		tag, id, size := le16(p, 0), uint32(1<<32-1), 4
		if tag == 2 || tag == 8 { // a user's or a group's, by number
			if len(p) < 8 {
				break
			}
			id, size = le32(p, 4), 8
		}
		out = append(out, p[:4]...)
		out = binary.LittleEndian.AppendUint32(out, id)
		p = p[size:]
	}
	if len(p) > 0 {
		return nil, disk.Corrupt("ext", n.place(), "an ACL with %d bytes too many", len(p))
	}
	return out, nil
}
