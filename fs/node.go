package fs

import (
	"context"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/imsfs/imsfs/tree"
)

// mounted is what all nodes of a mounted tree share.
type mounted struct {
	numbers *numbers
	// dialogues counts the inodes of control files: each look-up of one makes an inode of its own.
	dialogues atomic.Uint64
	space     Space
	uid, gid  uint32 // owner of all files
	log       *slog.Logger
}

// node is what all node types have besides their inode.
type node struct {
	m    *mounted
	time time.Time
}

// file is one of the node types.
type file interface {
	fusefs.InodeEmbedder
	fusefs.NodeGetattrer
}

// render makes the node that shows a part of the tree.
func (m *mounted) render(n tree.Node) file {
	base := node{m: m, time: n.Identity().Time}
	switch n := n.(type) {
	case tree.Dir:
		return &dir{node: base, tree: n}
	case tree.Text:
		return &text{node: base, tree: n}
	case tree.Control:
		return &control{node: base, commander: n.Commander}
	case tree.Disk:
		return newDisk(base, n)
	}
	panic("a tree.Node of an unknown type") // bug: the interface is for the four types of package tree
}

// typeBits returns the file type of a kind of nodes.
func typeBits(k tree.Kind) uint32 {
	if k == tree.KindDir {
		return syscall.S_IFDIR
	}
	return syscall.S_IFREG
}

// blockSize is the unit in which programs should read and write.
const blockSize = 4096

// fill sets what all files have. A file has one link, because none would mean a deleted file, and
// a block size, because the FUSE library would count blocks by the size without one.
func (n *node) fill(a *fuse.Attr, mode uint32, size int64) {
	a.Mode, a.Nlink, a.Uid, a.Gid = mode, 1, n.m.uid, n.m.gid
	a.Size, a.Blksize, a.Blocks = uint64(size), blockSize, blocks(size)
	if !n.time.IsZero() {
		a.SetTimes(&n.time, &n.time, &n.time)
	}
}

// blocks returns how many units of 512 bytes n bytes take.
func blocks(n int64) uint64 { return uint64(n+511) / 512 }

// changes reports whether a request would change the mode, the owner or the size of a file. Programs
// that prepare a file for another user also set values that the file has already, and fail if that
// is refused.
func changes(in *fuse.SetAttrIn, now *fuse.Attr) bool {
	mode, setMode := in.GetMode()
	uid, setUID := in.GetUID()
	gid, setGID := in.GetGID()
	size, setSize := in.GetSize()
	return setMode && mode&0o7777 != now.Mode&0o7777 || setUID && uid != now.Uid ||
		setGID && gid != now.Gid || setSize && size != now.Size
}

// setsTimes reports whether a request sets the times of a file.
func setsTimes(in *fuse.SetAttrIn) bool {
	return in.Valid&(fuse.FATTR_ATIME|fuse.FATTR_MTIME|fuse.FATTR_CTIME) != 0
}

func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	if err := n.m.space.statfs(out); err != nil {
		return errno(n.m.log, "free space of the store", err)
	}
	return 0
}
