package fs

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload"
)

// disk is an image as a raw file. Its bytes never change, so the kernel keeps every page that was read.
type disk struct {
	fusefs.Inode
	file DiskFile
	time time.Time
	name string // for the log
	log  *slog.Logger
	// complaints bounds what a reader who tries a damaged place again and again writes into the log.
	complaints rate.Sometimes
}

// newDisk makes the node of a disk file.
func newDisk(file DiskFile, at time.Time, name string, log *slog.Logger) *disk {
	return &disk{file: file, time: at, name: name, log: log, complaints: rate.Sometimes{First: 10, Interval: time.Second}}
}

// failed is the errno of a read that failed. To a virtual machine every failure is an input/output error, whatever its
// cause; the log has the cause.
func (d *disk) failed(what string, err error) syscall.Errno {
	d.complaints.Do(func() { d.log.Error(what+" of "+d.name, "error", err) })
	return syscall.EIO
}

// diskAttrTimeout: the attributes of an active image are as constant as its bytes. Asking again at each read
// would cost a round trip that pages in the cache do not.
const diskAttrTimeout = time.Hour

func (d *disk) mode() uint32 { return syscall.S_IFREG }

func (d *disk) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = syscall.S_IFREG | 0o444
	out.Size = uint64(d.file.Size())
	out.Blksize = 4096 // named, or go-fuse takes Blocks for unset
	out.Blocks = uint64(d.file.Allocated()+511) / 512
	setCommon(&out.Attr, d.time)
	if out.Size > 0 { // an image that is being registered has none yet
		out.SetTimeout(diskAttrTimeout)
	}
	return 0
}

func (d *disk) Setattr(context.Context, fusefs.FileHandle, *fuse.SetAttrIn, *fuse.AttrOut) syscall.Errno {
	return syscall.EROFS
}

func (d *disk) Open(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	if writes(flags) || flags&syscall.O_TRUNC != 0 {
		return nil, 0, syscall.EROFS
	}
	open, err := d.file.Open(uninterrupted(ctx))
	if err != nil {
		return nil, 0, errno(d.log, "opening the disk of "+d.name, err)
	}
	return newDiskHandle(d, open, flags&syscall.O_DIRECT != 0), fuse.FOPEN_KEEP_CACHE, 0
}

// diskHandle is one open disk file.
type diskHandle struct {
	node   *disk
	disk   Disk
	direct bool // opened to go past the page cache

	// uses counts the open file itself and each view, from the read that made it until it was given back: that may be
	// after the kernel has its bytes and closes the file. The last one closes unused.
	uses   atomic.Int64
	unused chan struct{}
}

func newDiskHandle(node *disk, open Disk, direct bool) *diskHandle {
	h := &diskHandle{node: node, disk: open, direct: direct, unused: make(chan struct{})}
	h.uses.Store(1)
	return h
}

func (h *diskHandle) unuse() {
	if h.uses.Add(-1) == 0 {
		close(h.unused)
	}
}

func (h *diskHandle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	v, err := h.disk.View(uninterrupted(ctx), dest, off)
	if err != nil {
		return nil, h.node.failed("reading the disk", err)
	}
	h.uses.Add(1)
	return &reply{View: v, handle: h}, 0
}

// reply sends a view's slices to the kernel as they are, and gives them back when that is done.
type reply struct {
	*lazyload.View
	handle *diskHandle
}

var _ fuse.ReadResult = (*reply)(nil)

func (r *reply) Size() int { return r.Len }

func (r *reply) Slices() ([][]byte, fuse.Status) { return r.View.Slices, fuse.OK }

func (r *reply) Bytes(buf []byte) ([]byte, fuse.Status) {
	buf = buf[:0]
	for _, s := range r.View.Slices {
		buf = append(buf, s...)
	}
	return buf, fuse.OK
}

// Done is called once the kernel has the bytes.
func (r *reply) Done() { r.handle.node.push(r) }

func (r *reply) giveBack() {
	r.Release()
	r.handle.unuse()
}

func (h *diskHandle) Lseek(ctx context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	return lseek(ctx, h.disk, off, whence, h.node.failed)
}

// lseek answers SEEK_DATA and SEEK_HOLE; failed makes an errno of a disk's error.
func lseek(ctx context.Context, d extents, off uint64, whence uint32, failed func(what string, err error) syscall.Errno) (uint64, syscall.Errno) {
	size := d.Size()
	if off >= uint64(size) {
		return 0, syscall.ENXIO
	}
	pos, err := seek(ctx, d, int64(off), whence == unix.SEEK_DATA)
	if err != nil {
		return 0, failed("extents of the disk", err)
	}
	if whence == unix.SEEK_DATA && pos == size {
		return 0, syscall.ENXIO
	}
	return uint64(pos), 0
}

// extents is a disk that knows where its data is.
type extents interface {
	Size() int64
	Extent(ctx context.Context, off, n int64) (formats.Extent, error)
}

// seek returns the first offset at or behind off that is data, or is not; or the disk's size.
func seek(ctx context.Context, d extents, off int64, data bool) (int64, error) {
	for off < d.Size() {
		e, err := d.Extent(ctx, off, d.Size()-off)
		if err != nil {
			return 0, err
		}
		if (e.State == formats.Data) == data {
			break
		}
		off = e.End()
	}
	return off, nil
}

func (h *diskHandle) Release(context.Context) syscall.Errno {
	h.unuse()
	<-h.unused
	if err := h.disk.Close(); err != nil && !errors.Is(err, context.Canceled) {
		h.node.log.Error("closing the disk of "+h.node.name, "error", err)
	}
	return 0
}
