package fs

import (
	"context"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// text is a read-only file whose content is made when it is opened, and is one piece from then on.
type text struct {
	fusefs.Inode
	content func() string
	time    time.Time
}

func (t *text) mode() uint32 { return syscall.S_IFREG }

func (t *text) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = syscall.S_IFREG | 0o444
	out.Size = uint64(len(t.content()))
	setCommon(&out.Attr, t.time)
	return 0
}

func (t *text) Open(_ context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	if writes(flags) {
		return nil, 0, syscall.EACCES
	}
	return &snapshot{t.content()}, fuse.FOPEN_DIRECT_IO, 0
}

type snapshot struct{ content string }

func (s *snapshot) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return readString(s.content, dest, off), 0
}

func readString(s string, dest []byte, off int64) fuse.ReadResult {
	if off >= int64(len(s)) {
		return fuse.ReadResultData(nil)
	}
	return fuse.ReadResultData(dest[:copy(dest, s[off:])])
}

func writes(flags uint32) bool { return flags&syscall.O_ACCMODE != syscall.O_RDONLY }
