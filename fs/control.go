package fs

import (
	"context"
	"sync"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/tree"
)

// control is a file that takes commands: one write(2) is one line. The error of that write is the
// refusal.
type control struct {
	fusefs.Inode
	node
	commander tree.Commander
}

// lineBuffer is the block size of a control file. The C library's buffer has that size, and echo
// and printf write at most a buffer at once. So a line that is too long is refused as a whole. A
// smaller buffer would cut it, and half of it would be obeyed.
const lineBuffer = 64 << 10

// Getattr gives the size of the listing that a reader gets, so that a program which copies the file
// finds as many bytes as it expects.
func (c *control) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	c.fill(&out.Attr, syscall.S_IFREG|0o644, int64(len(c.commander.Verbs())))
	out.Blksize = lineBuffer
	return 0
}

// Setattr lets `echo verb >ctl` truncate the file first, and touch set its times. There is nothing
// to set.
func (c *control) Setattr(ctx context.Context, f fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if no := c.Getattr(ctx, f, out); no != 0 {
		return no
	}
	in.Valid &^= fuse.FATTR_SIZE
	if changes(in, &out.Attr) {
		return syscall.EPERM
	}
	return 0
}

func (c *control) Open(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return &dialogue{control: c}, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES, 0
}

// dialogue is one open control file. A reader gets the verbs or, after a command was written, the
// outcome of that command. So a client need not guess whose error the file `error` holds.
type dialogue struct {
	control *control

	mu     sync.Mutex // guards the following
	made   bool       // answer is set
	answer string
	start  int64 // where in the file the answer begins
}

func (d *dialogue) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	r := patient(ctx)
	defer r.end()
	by := actor(ctx)
	if p := process(ctx); p.PID != 0 {
		by.PID = p.PID
	}
	err := d.control.commander.Do(r, command.Call{Line: string(data), By: by})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made, d.answer, d.start = true, "", off
	if err != nil {
		d.answer = err.Error() + "\n"
		return 0, errno(d.control.m.log, "command", err)
	}
	// A reader that goes on where its write ended must find the answer there.
	d.start = off + int64(len(data))
	return uint32(len(data)), 0
}

func (d *dialogue) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.made {
		d.made, d.answer = true, d.control.commander.Verbs()
	}
	return readString(d.answer, dest, max(off-d.start, 0)), 0
}

// Fsync has nothing to do: a command that has returned is on disk.
func (d *dialogue) Fsync(context.Context, uint32) syscall.Errno { return 0 }
