package fs

import (
	"context"
	"slices"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// dir is a directory whose children are known by asking.
type dir struct {
	fusefs.Inode
	list func() []child
	find func(name string) (child, bool) // nil: look through list
	time time.Time
}

// child is an entry of a directory. Its inode number stands for the thing, not for the name: the kernel may keep
// what it knows of an inode for as long as the number is the same.
type child struct {
	name string
	ino  uint64
	node node
}

// node is one of the tree's node types.
type node interface {
	fusefs.InodeEmbedder
	fusefs.NodeGetattrer
	mode() uint32 // type bits
}

func (d *dir) mode() uint32 { return syscall.S_IFDIR }

func (d *dir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	c, ok := d.child(name)
	if !ok {
		return nil, syscall.ENOENT
	}
	var attr fuse.AttrOut
	if no := c.node.Getattr(ctx, nil, &attr); no != 0 {
		return nil, no
	}
	out.Attr = attr.Attr
	out.SetAttrTimeout(attr.Timeout())
	return d.NewInode(ctx, c.node, fusefs.StableAttr{Mode: c.node.mode(), Ino: c.ino}), 0
}

func (d *dir) child(name string) (child, bool) {
	if d.find != nil {
		return d.find(name)
	}
	for _, c := range d.list() {
		if c.name == name {
			return c, true
		}
	}
	return child{}, false
}

func (d *dir) Readdir(context.Context) (fusefs.DirStream, syscall.Errno) {
	var entries []fuse.DirEntry
	for _, c := range d.list() {
		entries = append(entries, fuse.DirEntry{Name: c.name, Ino: c.ino, Mode: c.node.mode()})
	}
	return fusefs.NewListDirStream(slices.Clip(entries)), 0
}

func (d *dir) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = syscall.S_IFDIR | 0o555
	setCommon(&out.Attr, d.time)
	return 0
}

// setCommon sets what all files have: a time, and one link (of which the kernel would else think none: a deleted file).
func setCommon(a *fuse.Attr, t time.Time) {
	a.Nlink = 1
	if !t.IsZero() {
		a.SetTimes(&t, &t, &t)
	}
}

// Unlink and Rmdir refuse: without them the library would report a success. Images are deleted by a command.
func (d *dir) Unlink(context.Context, string) syscall.Errno { return syscall.EPERM }

// Rmdir: see Unlink.
func (d *dir) Rmdir(context.Context, string) syscall.Errno { return syscall.EPERM }
