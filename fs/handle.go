package fs

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/tree"
)

// diskHandle is one open disk file.
type diskHandle struct {
	node   *disk
	disk   tree.OpenDisk
	viewer tree.Viewer       // nil: the disk shares no memory
	writer tree.WritableDisk // nil: opened for reading
	direct bool              // opened with O_DIRECT, to go past the page cache

	// uses counts the open file itself and each view, from the read that made it until it was given
	// back. That may be after the kernel has the bytes and closes the file. The last one closes
	// unused.
	uses   atomic.Int64
	unused chan struct{}
}

func newDiskHandle(node *disk, open tree.OpenDisk) *diskHandle {
	h := &diskHandle{node: node, disk: open, unused: make(chan struct{})}
	h.viewer, _ = open.(tree.Viewer)
	h.uses.Store(1)
	return h
}

func (h *diskHandle) unuse() {
	if h.uses.Add(-1) == 0 {
		close(h.unused)
	}
}

// sector is the unit of a request that goes past the page cache.
const sector = 512

// odd reports whether a request is one that a block device would refuse. Programs find out the
// sector size by trying. For example, if a disk reads one byte with O_DIRECT, QEMU gives up,
// assumes 4096, and then cannot use a disk whose size is not a multiple of that.
func (h *diskHandle) odd(off int64, n int) bool {
	return h.direct && (off%sector != 0 || n%sector != 0)
}

func (h *diskHandle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if h.odd(off, len(dest)) {
		return nil, syscall.EINVAL
	}
	r := patient(ctx)
	defer r.end()
	if h.viewer == nil {
		n := min(int64(len(dest)), max(h.disk.Size()-off, 0))
		if _, err := h.disk.ReadAt(r, dest[:n], off); err != nil {
			return nil, h.node.failed("reading the disk", err)
		}
		return plain(dest[:n]), 0
	}
	v, err := h.viewer.View(r, dest, off)
	if err != nil {
		return nil, h.node.failed("reading the disk", err)
	}
	h.uses.Add(1)
	return &reply{View: v, handle: h}, 0
}

// plain is the answer to a read as it lies in memory. (The FUSE library's own would go through a
// pipe, which holds less than the largest answer and its header.)
type plain []byte

var _ fuse.ReadResult = plain(nil)

func (p plain) Size() int { return len(p) }

func (p plain) Slices() ([][]byte, fuse.Status) { return [][]byte{p}, fuse.OK }

func (p plain) Bytes([]byte) ([]byte, fuse.Status) { return p, fuse.OK }

// Done has nothing to give back.
func (p plain) Done() {}

// reply sends a view's slices to the kernel as they are, and gives them back after that.
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

func (h *diskHandle) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	switch {
	case h.writer == nil:
		return 0, syscall.EBADF
	case h.odd(off, len(data)):
		return 0, syscall.EINVAL
	}
	r := patient(ctx)
	defer r.end()
	n, err := h.writer.WriteAt(r, data, off)
	if err != nil {
		return uint32(n), h.node.failed("writing the disk", err)
	}
	return uint32(n), 0
}

// Allocate zeroes ranges. It never changes the size.
func (h *diskHandle) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	if h.writer == nil {
		return syscall.EBADF
	}
	if mode != unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE && mode&^unix.FALLOC_FL_KEEP_SIZE != unix.FALLOC_FL_ZERO_RANGE {
		return syscall.EOPNOTSUPP
	}
	end := uint64(h.disk.Size())
	if off >= end && mode&unix.FALLOC_FL_KEEP_SIZE != 0 {
		return 0 // as on any file: nothing is there
	}
	if size > end-min(off, end) {
		if mode&unix.FALLOC_FL_KEEP_SIZE == 0 {
			return syscall.EFBIG
		}
		size = end - off
	}
	r := patient(ctx)
	defer r.end()
	if err := h.writer.Zero(r, int64(off), int64(size)); err != nil {
		return h.node.failed("zeroing the disk", err)
	}
	return 0
}

// Fsync flushes the writes of every process. A disk that can be read only has nothing to flush.
func (h *diskHandle) Fsync(context.Context, uint32) syscall.Errno {
	f, ok := h.disk.(interface{ Flush() error })
	if !ok {
		return 0
	}
	if err := f.Flush(); err != nil {
		return h.node.failed("flushing the disk", err)
	}
	return 0
}

// Flush is called for each close(2) of the file.
func (h *diskHandle) Flush(ctx context.Context) syscall.Errno {
	if h.writer == nil {
		return 0
	}
	return h.Fsync(ctx, 0)
}

func (h *diskHandle) Lseek(ctx context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	r := patient(ctx)
	defer r.end()
	size := h.disk.Size()
	if off >= uint64(size) {
		return 0, syscall.ENXIO
	}
	pos, err := seek(r, h.disk, int64(off), whence == unix.SEEK_DATA)
	if err != nil {
		return 0, h.node.failed("looking for the extents of the disk", err)
	}
	if whence == unix.SEEK_DATA && pos == size {
		return 0, syscall.ENXIO
	}
	return uint64(pos), 0
}

func (h *diskHandle) Release(context.Context) syscall.Errno {
	h.unuse()
	<-h.unused
	if err := h.disk.Close(); err != nil && !errors.Is(err, context.Canceled) {
		h.node.m.log.Error("closing the disk of "+h.node.tree.Name, "error", err)
	}
	return 0
}
