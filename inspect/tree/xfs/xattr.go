package xfs

import (
	"context"
	"encoding/binary"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

const (
	xattrLocal, xattrRoot, xattrSecure = 0x1, 0x2, 0x4
	xattrParent, xattrIncomplete       = 0x8, 0x80

	// maxXattrBytes bounds the values of one file.
	maxXattrBytes = 16 << 20
)

// xattrList gathers the attributes of a file.
type xattrList struct {
	list          []tree.Xattr
	names, values int
}

func (l *xattrList) add(flags byte, name, value []byte) error {
	if flags&(xattrParent|xattrIncomplete) != 0 {
		return nil
	}
	l.names, l.values = l.names+len(name)+1, l.values+len(value)
	if l.names > tree.MaxXattrs || l.values > maxXattrBytes {
		return tree.ErrLimit
	}
	prefix := "user."
	switch {
	case flags&xattrRoot != 0:
		prefix = "trusted."
		switch string(name) {
		case "SGI_ACL_FILE":
			l.list = append(l.list, tree.Xattr{Name: "system.posix_acl_access", Value: acl(value)})
		case "SGI_ACL_DEFAULT":
			l.list = append(l.list, tree.Xattr{Name: "system.posix_acl_default", Value: acl(value)})
		}
	case flags&xattrSecure != 0:
		prefix = "security."
	}
	l.list = append(l.list, tree.Xattr{Name: prefix + string(name), Value: value})
	return nil
}

// acl makes the kernel's form of an access control list from the stored one.
func acl(p []byte) []byte {
	out := []byte{2, 0, 0, 0}
	for i := int64(4); i+12 <= int64(len(p)); i += 12 {
		tag, id := be32(p, i), be32(p, i+4)
		if tag != 2 && tag != 8 { // neither a user's nor a group's
			id = 1<<32 - 1
		}
		out = binary.LittleEndian.AppendUint16(out, uint16(tag))
		out = binary.LittleEndian.AppendUint16(out, be16(p, i+8))
		out = binary.LittleEndian.AppendUint32(out, id)
	}
	return out
}

// Xattrs returns the attributes in the inode, or in the leaves of its attribute fork.
func (f *fileSystem) Xattrs(ctx context.Context, id tree.ID) ([]tree.Xattr, error) {
	n, err := f.inode(ctx, id)
	if err != nil || len(n.more.bytes) == 0 {
		return nil, err
	}
	l := &xattrList{}
	switch {
	case n.more.format == formatLocal:
		err = shortXattrs(&n.more, l)
	case n.more.format == formatExtents && n.more.extents == 0:
	default:
		err = f.leafXattrs(ctx, &n.more, l)
	}
	return l.list, err
}

func shortXattrs(k *fork, l *xattrList) error {
	p := k.bytes
	if len(p) < 4 {
		return disk.Corrupt("xfs", k.place, "%d bytes", len(p))
	}
	at := 4
	for range int(p[2]) {
		if at+3 > len(p) || at+3+int(p[at])+int(p[at+1]) > len(p) {
			return disk.Corrupt("xfs", k.place, "the attribute at %d is cut off", at)
		}
		name, value := at+3, at+3+int(p[at])
		next := value + int(p[at+1])
		if err := l.add(p[at+2], p[name:value], p[value:next]); err != nil {
			return err
		}
		at = next
	}
	return nil
}

// leafXattrs goes down to the first leaf and along the leaves.
func (f *fileSystem) leafXattrs(ctx context.Context, k *fork, l *xattrList) error {
	p := make([]byte, f.blockSize)
	head, at := int64(16), int64(12)
	if f.v5 {
		head, at = 64, 56
	}
	level, block := int64(-1), int64(0)
	for range 1 << 14 {
		ok, err := f.blocksOf(ctx, k, p, block)
		if err != nil {
			return err
		}
		if !ok {
			return disk.Corrupt("xfs", k.place, "block %d is a hole", block)
		}
		switch magic := be16(p, 8); magic {
		case 0xfebe, 0x3ebe:
			next := int64(be16(p, at+2))
			if level >= 0 && next != level-1 || next < 1 || next > maxLevel || be16(p, at) == 0 {
				return disk.Corrupt("xfs", k.place, "block %d has level %d below %d", block, next, level)
			}
			level, block = next, int64(be32(p, head+4))
		case 0xfbee, 0x3bee:
			level = 0
			if err := f.xattrEntries(ctx, k, p, at, l); err != nil {
				return err
			}
			if block = int64(be32(p, 0)); block == 0 {
				return nil
			}
		default:
			return disk.Corrupt("xfs", k.place, "block %d has the magic 0x%x", block, magic)
		}
	}
	return disk.Corrupt("xfs", k.place, "its leaves are a ring")
}

// xattrEntries reads a leaf. Its header's own fields begin at an offset.
func (f *fileSystem) xattrEntries(ctx context.Context, k *fork, p []byte, at int64, l *xattrList) error {
	first := int64(32)
	if f.v5 {
		first = 80
	}
	count, size := int64(be16(p, at)), int64(len(p))
	if count > (size-first)/8 {
		return disk.Corrupt("xfs", k.place, "%d attributes in a block", count)
	}
	for i := first; i < first+count*8; i += 8 {
		place, flags := int64(be16(p, i+4)), p[i+6]
		if place+9 > size {
			return disk.Corrupt("xfs", k.place, "an attribute at %d of %d", place, size)
		}
		name, length := place+3, int64(be16(p, place))
		end := name + int64(p[place+2])
		if flags&xattrLocal == 0 {
			name, length = place+9, 0
			end = name + int64(p[place+8])
		}
		if end+length > size {
			return disk.Corrupt("xfs", k.place, "the attribute at %d is cut off", place)
		}
		value := append([]byte(nil), p[end:end+length]...)
		if flags&xattrLocal == 0 && flags&xattrIncomplete == 0 {
			var err error
			value, err = f.remoteValue(ctx, k, int64(be32(p, place)), int64(be32(p, place+4)))
			if err != nil {
				return err
			}
		}
		if err := l.add(flags, p[name:end], value); err != nil {
			return err
		}
	}
	return nil
}

// remoteValue reads a value in blocks of its own. Each block of version 5 has a header.
func (f *fileSystem) remoteValue(ctx context.Context, k *fork, block, length int64) ([]byte, error) {
	if length > tree.MaxXattrs {
		return nil, disk.Corrupt("xfs", k.place, "a value of %d bytes", length)
	}
	head := int64(0)
	if f.v5 {
		head = 56
	}
	value, p := make([]byte, 0, length), make([]byte, f.blockSize)
	for ; int64(len(value)) < length; block++ {
		ok, err := f.blocksOf(ctx, k, p, block)
		if err != nil {
			return nil, err
		}
		if !ok || f.v5 && string(p[:4]) != "XARM" {
			return nil, disk.Corrupt("xfs", k.place, "block %d is not of a value", block)
		}
		value = append(value, p[head:min(f.blockSize, head+length-int64(len(value)))]...)
	}
	return value, nil
}
