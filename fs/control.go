package fs

import (
	"context"
	"log/slog"
	"sync"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// control is a file that takes commands: one write(2), one line. A refusal is the error of that write.
type control struct {
	fusefs.Inode
	commander Commander
	time      time.Time
	log       *slog.Logger
}

// lineBuffer is the block size that is told of a control file. The C library's buffer, and so the most that echo or printf
// write at once, has that size: a line longer than the limit shall be refused as a whole, not be cut and half of it obeyed.
const lineBuffer = 64 << 10

// controlSize is the size a control file seems to have, and no command is longer. The kernel lets two processes write to
// a file at a time only within its size: so no command waits for another that takes long.
const controlSize = command.MaxLine

func (c *control) mode() uint32 { return syscall.S_IFREG }

func (c *control) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = syscall.S_IFREG | 0o644
	out.Size = controlSize
	out.Blksize = lineBuffer
	setCommon(&out.Attr, c.time)
	return 0
}

// Setattr lets `echo verb >ctl` truncate the file first; there is nothing to set.
func (c *control) Setattr(ctx context.Context, f fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if in.Valid&^(fuse.FATTR_SIZE|fuse.FATTR_FH|fuse.FATTR_LOCKOWNER|fuse.FATTR_MTIME|fuse.FATTR_CTIME|fuse.FATTR_MTIME_NOW) != 0 {
		return syscall.EPERM
	}
	return c.Getattr(ctx, f, out)
}

func (c *control) Open(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return &dialogue{control: c}, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES, 0
}

// dialogue is one open control file. Reading lists the verbs, or, once a command was written, what became of it: so
// that a client need not guess whose error the file `error` holds.
type dialogue struct {
	control *control

	mu     sync.Mutex // guards the following
	asked  bool
	answer string
	start  int64 // where in the file reading the answer begins
}

func (d *dialogue) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	err := d.control.commander.Do(uninterrupted(ctx), command.Call{Line: string(data)})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked, d.answer, d.start = true, "", off
	if err != nil {
		d.answer = err.Error() + "\n"
		return 0, errno(d.control.log, "command", err)
	}
	// A reader that goes on where its write ended must find the answer there.
	d.start = off + int64(len(data))
	return uint32(len(data)), 0
}

func (d *dialogue) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.asked {
		return readString(d.control.commander.Verbs(), dest, off), 0
	}
	return readString(d.answer, dest, max(off-d.start, 0)), 0
}
