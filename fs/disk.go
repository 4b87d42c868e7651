package fs

import (
	"context"
	"errors"
	iofs "io/fs"
	"sync"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/time/rate"

	"github.com/imsfs/imsfs/tree"
)

// disk is a raw disk as a file.
type disk struct {
	fusefs.Inode
	node
	tree     tree.Disk
	writable tree.WritableFile // nil: the disk can be read only
	// complaints limits the log lines of a reader that reads a damaged place again and again.
	complaints rate.Sometimes

	mu      sync.Mutex
	changed time.Time // the last mtime that was set
}

func newDisk(base node, d tree.Disk) *disk {
	n := &disk{node: base, tree: d, complaints: rate.Sometimes{First: 10, Interval: time.Second}}
	n.writable, _ = d.File.(tree.WritableFile)
	return n
}

func (d *disk) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	mode := uint32(0o444)
	if d.writable != nil {
		mode = 0o644
	}
	size := d.tree.File.Size()
	d.fill(&out.Attr, syscall.S_IFREG|mode, size)
	out.Blocks = blocks(d.tree.File.Allocated())
	d.own(&out.Attr)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.changed.IsZero() {
		out.SetTimes(&d.changed, &d.changed, &d.changed)
	}
	// The attributes of a constant disk are as constant as its bytes, and a request for them at each
	// read would cost as much as the page cache saves. A disk that is being registered has no size
	// yet.
	if d.tree.Constant && size > 0 {
		out.SetTimeout(lasting)
	}
	return 0
}

// own sets the owner of the disk. The kernel compares it with the caller when the disk is opened,
// because the tree is mounted with default_permissions.
func (d *disk) own(a *fuse.Attr) {
	if d.tree.Owner == nil {
		return
	}
	uid, gid := d.tree.Owner()
	if uid >= 0 {
		a.Uid = uint32(uid)
	}
	if gid >= 0 {
		a.Gid = uint32(gid)
	}
}

// Setattr refuses another size, which is for the command resize. Times may be set and are
// forgotten with the inode.
func (d *disk) Setattr(ctx context.Context, f fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if no := d.Getattr(ctx, f, out); no != 0 {
		return no
	}
	switch changed := changes(in, &out.Attr); {
	case d.writable == nil && (changed || setsTimes(in)):
		return syscall.EROFS
	case changed:
		return syscall.EPERM
	}
	at, ok := in.GetMTime()
	if !ok {
		return 0
	}
	d.mu.Lock()
	d.changed = at
	d.mu.Unlock()
	return d.Getattr(ctx, f, out)
}

// Open opens the disk. A disk that can be written to ignores O_TRUNC, as a block device does: dd, cp
// and shells open a file with it to overwrite the file.
func (d *disk) Open(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	write := writes(flags)
	if d.writable == nil && (write || flags&syscall.O_TRUNC != 0) {
		return nil, 0, syscall.EROFS
	}
	h, err := d.open(ctx, write)
	if err != nil {
		return nil, 0, errno(d.m.log, "opening the disk of "+d.tree.Name, err)
	}
	h.direct = flags&syscall.O_DIRECT != 0
	if d.tree.Constant {
		return h, fuse.FOPEN_KEEP_CACHE, 0
	}
	return h, fuse.FOPEN_PARALLEL_DIRECT_WRITES, 0
}

func (d *disk) open(ctx context.Context, write bool) (*diskHandle, error) {
	r := patient(ctx)
	defer r.end()
	if !write {
		open, err := d.tree.File.Open(r)
		if err != nil {
			return nil, err
		}
		return newDiskHandle(d, open), nil
	}
	open, err := d.writable.OpenWriter(r, process(ctx))
	if err != nil {
		return nil, err
	}
	h := newDiskHandle(d, open)
	h.writer = open
	return h, nil
}

// failed returns the errno for an operation that failed. A guest knows two failures: no space, and
// any other. The log has the cause.
func (d *disk) failed(what string, err error) syscall.Errno {
	switch {
	case errors.Is(err, iofs.ErrInvalid): // past the end, which is the caller's mistake
		return syscall.EFBIG
	case errors.Is(err, context.Canceled): // the caller was killed
		return syscall.EINTR
	}
	d.complaints.Do(func() { d.m.log.Error(what+" of "+d.tree.Name, "error", err) })
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return syscall.ENOSPC
	}
	return syscall.EIO
}
