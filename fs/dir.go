package fs

import (
	"context"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/imsfs/imsfs/tree"
)

// dir is a directory.
type dir struct {
	fusefs.Inode
	node
	tree tree.Dir
}

// lasting is how long the kernel may remember what never changes.
const lasting = time.Hour

func (d *dir) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	mode := uint32(0o555)
	if d.tree.Edit != nil {
		mode = 0o755
	}
	d.fill(&out.Attr, syscall.S_IFDIR|mode, 0)
	return 0
}

func (d *dir) Setattr(ctx context.Context, f fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if no := d.Getattr(ctx, f, out); no != 0 {
		return no
	}
	if changes(in, &out.Attr) || setsTimes(in) {
		return syscall.EPERM
	}
	return 0
}

func (d *dir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	child, ok := d.tree.Find(name)
	if !ok {
		return nil, syscall.ENOENT
	}
	if d.tree.Lasting {
		out.SetEntryTimeout(lasting)
	}
	return d.attach(ctx, child, d.m.render(child), out)
}

// attach makes a child known to the kernel: it fills in the child's attributes and gives it its
// number. Each look-up of a control file makes another inode with the same number, so that one
// command never waits in the kernel for the lock of a file on which another command runs.
func (d *dir) attach(ctx context.Context, child tree.Node, f file, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	var attr fuse.AttrOut
	if no := f.Getattr(ctx, nil, &attr); no != 0 {
		return nil, no
	}
	out.Attr = attr.Attr
	out.SetAttrTimeout(attr.Timeout())
	stable := fusefs.StableAttr{Mode: typeBits(child.Kind()), Ino: d.m.numbers.take(child.Identity().Key)}
	if child.Kind() == tree.KindControl {
		stable.Gen = d.m.dialogues.Add(1)
	}
	return d.NewInode(ctx, f, stable), 0
}

func (d *dir) OpendirHandle(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return &listing{dir: d}, 0, 0
}

// Create makes a text in a directory that can be edited.
func (d *dir) Create(ctx context.Context, name string, _, _ uint32, out *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	if d.tree.Edit == nil {
		return nil, nil, 0, syscall.EPERM
	}
	r := patient(ctx)
	defer r.end()
	by := actor(ctx)
	t, err := d.tree.Edit.Create(r, by, name)
	if err != nil {
		return nil, nil, 0, errno(d.m.log, "creating "+name, err)
	}
	created := &text{node: node{d.m, t.Time}, tree: t}
	inode, no := d.attach(ctx, t, created, out)
	out.Size = 0
	return inode, &draft{text: created, by: by, emptied: true}, fuse.FOPEN_DIRECT_IO, no
}

func (d *dir) Unlink(ctx context.Context, name string) syscall.Errno {
	if d.tree.Edit == nil {
		return syscall.EPERM
	}
	r := patient(ctx)
	defer r.end()
	return errno(d.m.log, "removing "+name, d.tree.Edit.Remove(r, actor(ctx), name))
}

// The operations below are commands in this tree: see operations_test.go.

func (d *dir) Rmdir(context.Context, string) syscall.Errno { return syscall.EPERM }

func (d *dir) Mkdir(context.Context, string, uint32, *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

func (d *dir) Mknod(context.Context, string, uint32, uint32, *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

func (d *dir) Link(context.Context, fusefs.InodeEmbedder, string, *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

func (d *dir) Symlink(context.Context, string, string, *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

func (d *dir) Rename(context.Context, string, fusefs.InodeEmbedder, string, uint32) syscall.Errno {
	return syscall.EPERM
}

// Tmpfile answers ENOSYS, after which the kernel refuses such files with EOPNOTSUPP by itself.
func (d *dir) Tmpfile(context.Context, uint32, uint32, *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, syscall.ENOSYS
}
