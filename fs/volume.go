package fs

import (
	"context"
	"errors"
	iofs "io/fs"
	"log/slog"
	"sync"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/imsfs/imsfs/formats"
)

// WritableDisk is an open disk that can be written to.
type WritableDisk interface {
	Size() int64
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	WriteAt(ctx context.Context, p []byte, off int64) (int, error)
	Zero(ctx context.Context, off, n int64) error
	Flush() error
	Extent(ctx context.Context, off, n int64) (formats.Extent, error)
	Close() error
}

// WritableDiskFile is a disk that can be opened for writing.
type WritableDiskFile interface {
	Size() int64
	Allocated() int64
	Open(ctx context.Context, write bool) (WritableDisk, error)
}

// writable is a volume as a raw file. The kernel keeps what was read while the file is open, and writes through.
type writable struct {
	fusefs.Inode
	file       WritableDiskFile
	created    time.Time
	name       string // for the log
	log        *slog.Logger
	complaints rate.Sometimes

	mu      sync.Mutex
	changed time.Time // the last mtime that somebody set
}

func newWritable(file WritableDiskFile, at time.Time, name string, log *slog.Logger) *writable {
	return &writable{file: file, created: at, name: name, log: log, complaints: rate.Sometimes{First: 10, Interval: time.Second}}
}

func (w *writable) mode() uint32 { return syscall.S_IFREG }

func (w *writable) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = syscall.S_IFREG | 0o644
	out.Size = uint64(w.file.Size())
	out.Blksize = 4096
	out.Blocks = uint64(w.file.Allocated()+511) / 512
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.created
	if !w.changed.IsZero() {
		at = w.changed
	}
	setCommon(&out.Attr, at)
	return 0
}

// Setattr refuses another size: that is the verb resize's. Times may be set, and are forgotten.
func (w *writable) Setattr(ctx context.Context, f fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok && size != uint64(w.file.Size()) {
		return syscall.EPERM
	}
	if in.Valid&(fuse.FATTR_MODE|fuse.FATTR_UID|fuse.FATTR_GID) != 0 {
		return syscall.EPERM
	}
	if at, ok := in.GetMTime(); ok {
		w.mu.Lock()
		w.changed = at
		w.mu.Unlock()
	}
	return w.Getattr(ctx, f, out)
}

func (w *writable) Open(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	open, err := w.file.Open(uninterrupted(ctx), writes(flags))
	if err != nil {
		return nil, 0, errno(w.log, "opening the disk of "+w.name, err)
	}
	return &writableHandle{node: w, disk: open, writes: writes(flags)}, fuse.FOPEN_PARALLEL_DIRECT_WRITES, 0
}

// failed is the errno of what failed. A guest knows only two failures: no space, and any other.
func (w *writable) failed(what string, err error) syscall.Errno {
	if errors.Is(err, iofs.ErrInvalid) { // behind the end, which is the caller's mistake
		return syscall.EFBIG
	}
	w.complaints.Do(func() { w.log.Error(what+" of "+w.name, "error", err) })
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return syscall.ENOSPC
	}
	return syscall.EIO
}

// writableHandle is one open volume.
type writableHandle struct {
	node   *writable
	disk   WritableDisk
	writes bool
}

func (h *writableHandle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n := min(int64(len(dest)), max(h.disk.Size()-off, 0))
	if _, err := h.disk.ReadAt(uninterrupted(ctx), dest[:n], off); err != nil {
		return nil, h.node.failed("reading the disk", err)
	}
	return plain(dest[:n]), 0
}

// plain is the answer to a read as it lies in memory. (The library's own would go through a pipe, which holds less than the largest
// answer and its head.)
type plain []byte

func (p plain) Size() int { return len(p) }

func (p plain) Slices() ([][]byte, fuse.Status) { return [][]byte{p}, fuse.OK }

func (p plain) Bytes([]byte) ([]byte, fuse.Status) { return p, fuse.OK }

// Done has nothing to give back.
func (p plain) Done() {}

func (h *writableHandle) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	n, err := h.disk.WriteAt(uninterrupted(ctx), data, off)
	if err != nil {
		return uint32(n), h.node.failed("writing the disk", err)
	}
	return uint32(n), 0
}

func (h *writableHandle) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
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
	if err := h.disk.Zero(uninterrupted(ctx), int64(off), int64(size)); err != nil {
		return h.node.failed("zeroing the disk", err)
	}
	return 0
}

func (h *writableHandle) Fsync(context.Context, uint32) syscall.Errno { return h.flush() }

// Flush is a close by one of those who have the file open.
func (h *writableHandle) Flush(context.Context) syscall.Errno {
	if !h.writes {
		return 0
	}
	return h.flush()
}

func (h *writableHandle) flush() syscall.Errno {
	if err := h.disk.Flush(); err != nil {
		return h.node.failed("flushing the disk", err)
	}
	return 0
}

func (h *writableHandle) Lseek(ctx context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	return lseek(ctx, h.disk, off, whence, h.node.failed)
}

func (h *writableHandle) Release(context.Context) syscall.Errno {
	if err := h.disk.Close(); err != nil {
		h.node.log.Error("closing the disk of "+h.node.name, "error", err)
	}
	return 0
}
