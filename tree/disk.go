package tree

import (
	"context"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// Disk is a raw disk as a file.
type Disk struct {
	Thing
	Name string // for logs
	File DiskFile
	// Constant says that the bytes and the size never change once the size is known, so that a
	// reader may keep both.
	Constant bool
	// Owner returns the user and the group that the file belongs to; -1 stands for the daemon's, as
	// nil does for both.
	Owner func() (uid, gid int64)
}

// DiskFile is a disk that can be opened. One that can be written to is a WritableFile, too.
type DiskFile interface {
	Size() int64      // in bytes; 0 while it is not known yet
	Allocated() int64 // bytes that hold data
	Open(ctx context.Context) (OpenDisk, error)
}

// WritableFile is a disk that can be opened for writing, by a process that is named so that the
// disk can refuse a second one.
type WritableFile interface {
	DiskFile
	OpenWriter(ctx context.Context, by command.Process) (WritableDisk, error)
}

// OpenDisk is an open disk. One that shares its memory with its readers is a Viewer, too.
type OpenDisk interface {
	Size() int64
	// ReadAt fills p. A read that ends after the disk's end is short and returns io.EOF.
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	Extent(ctx context.Context, off, n int64) (formats.Extent, error)
	Close() error
}

// Viewer is a disk that answers a read with slices of memory it shares with others. The View's
// Fresh cluster may lie partly outside the disk; see Fresh.
type Viewer interface {
	View(ctx context.Context, scratch []byte, off int64) (*lazyload.View, error)
}

// WritableDisk is a disk that is open for writing.
type WritableDisk interface {
	OpenDisk
	WriteAt(ctx context.Context, p []byte, off int64) (int, error)
	Zero(ctx context.Context, off, n int64) error
	Flush() error
}

// Fresh returns the bytes of a view's fresh cluster that lie inside a disk of this size, and the
// offset of the first of them; nil if there are none. For example, the cluster in which a
// partition begins has bytes before the partition, which are not the partition's.
func Fresh(v *lazyload.View, size int64) (off int64, p []byte) {
	if v.Fresh == nil {
		return 0, nil
	}
	off, p = v.FreshOff, v.Fresh.Bytes()
	if off < 0 {
		p, off = p[min(-off, int64(len(p))):], 0
	}
	return off, p[:max(min(int64(len(p)), size-off), 0)]
}
