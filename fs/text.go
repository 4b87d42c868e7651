package fs

import (
	"context"
	"strings"
	"sync"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/tree"
)

// text is a small file whose content is made when it is opened, and is one piece from then on.
type text struct {
	fusefs.Inode
	node
	tree tree.Text
}

func (t *text) Getattr(ctx context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	mode := uint32(0o444)
	if t.tree.Set != nil {
		mode = 0o644
	}
	size := 0 // of a text that takes a while to make
	if t.tree.Make == nil {
		size = len(t.tree.Content(actor(ctx)))
	}
	t.fill(&out.Attr, syscall.S_IFREG|mode, int64(size))
	return 0
}

// content makes the content for a process that opens the text.
func (t *text) content(ctx context.Context, by command.Actor) string {
	if t.tree.Make == nil {
		return t.tree.Content(by)
	}
	r := patient(ctx)
	defer r.end()
	return t.tree.Make(r)
}

// Setattr lets a text that can be written to be emptied and touched. The writes that follow set it.
func (t *text) Setattr(ctx context.Context, f fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if no := t.Getattr(ctx, f, out); no != 0 {
		return no
	}
	if size, ok := in.GetSize(); ok && size == 0 && t.tree.Set != nil {
		d, ok := f.(*draft)
		if !ok {
			r := patient(ctx)
			defer r.end()
			return errno(t.m.log, "emptying a text", t.tree.Set(r, actor(ctx), ""))
		}
		d.empty()
		out.Size, in.Valid = 0, in.Valid&^fuse.FATTR_SIZE
	}
	if changes(in, &out.Attr) || setsTimes(in) && t.tree.Set == nil {
		return syscall.EPERM
	}
	return 0
}

func (t *text) Open(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	if t.tree.Set == nil && writes(flags) {
		return nil, 0, syscall.EACCES
	}
	by := actor(ctx)
	d := &draft{text: t, by: by, content: t.content(ctx, by)}
	if t.tree.Set != nil && flags&syscall.O_TRUNC != 0 {
		d.empty()
	}
	return d, fuse.FOPEN_DIRECT_IO, 0
}

// maxText is the most bytes that a text may be written to have.
const maxText = 64 << 10

// draft is an open text. Each write changes the draft and sets the text to it, so that a refusal is
// the error of that write.
type draft struct {
	text *text
	by   command.Actor // who opened it

	mu      sync.Mutex // guards the following
	content string
	emptied bool // and no write followed
}

func (d *draft) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return readString(d.content, dest, off), 0
}

func (d *draft) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	end := off + int64(len(data))
	switch {
	case off > int64(len(d.content)):
		return 0, syscall.EINVAL
	case end > maxText:
		return 0, syscall.EFBIG
	}
	next := d.content[:off] + string(data)
	if end < int64(len(d.content)) {
		next += d.content[end:]
	}
	d.emptied = false // a refused write leaves the text as it was
	r := patient(ctx)
	defer r.end()
	if err := d.text.tree.Set(r, actor(ctx), strings.TrimSuffix(next, "\n")); err != nil {
		return 0, errno(d.text.m.log, "writing a text", err)
	}
	d.content = next
	return uint32(len(data)), 0
}

func (d *draft) empty() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.content, d.emptied = "", true
}

// Release sets a text that was emptied or created, and then not written. It does so after the last
// close, because a shell closes copies of a file before it writes. So a text that is replaced is
// set once, and a text whose new value is refused keeps its old one.
func (d *draft) Release(ctx context.Context) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.emptied {
		return 0
	}
	return errno(d.text.m.log, "emptying a text", d.text.tree.Set(ctx, d.by, ""))
}

// Fsync has nothing to do: a write that has returned is on disk.
func (d *draft) Fsync(context.Context, uint32) syscall.Errno { return 0 }

func readString(s string, dest []byte, off int64) fuse.ReadResult {
	if off >= int64(len(s)) {
		return fuse.ReadResultData(nil)
	}
	return fuse.ReadResultData(dest[:copy(dest, s[off:])])
}

func writes(flags uint32) bool { return flags&syscall.O_ACCMODE != syscall.O_RDONLY }
