package fs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// listing is an open directory: its entries at the moment of the first read, and again after each
// rewind. It holds the numbers of its entries, so that a listing and a stat tell the same ones.
type listing struct {
	dir     *dir
	entries []fuse.DirEntry // nil: not read yet
	next    int
}

func (l *listing) read() {
	l.Releasedir(context.Background(), 0)
	all := l.dir.tree.List()
	l.entries = make([]fuse.DirEntry, len(all))
	for i, e := range all {
		l.entries[i] = fuse.DirEntry{
			Name: e.Name,
			Mode: typeBits(e.Kind),
			Ino:  l.dir.m.numbers.take(e.Key),
			Off:  uint64(i + 1),
		}
	}
}

func (l *listing) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	if l.entries == nil {
		l.read()
	}
	if l.next >= len(l.entries) {
		return nil, 0
	}
	l.next++
	return &l.entries[l.next-1], 0
}

func (l *listing) Seekdir(_ context.Context, off uint64) syscall.Errno {
	if off == 0 || l.entries == nil {
		l.read()
	}
	if off > uint64(len(l.entries)) {
		return syscall.EINVAL
	}
	l.next = int(off)
	return 0
}

// Fsyncdir has nothing to do: a command that has returned is on disk.
func (l *listing) Fsyncdir(context.Context, uint32) syscall.Errno { return 0 }

func (l *listing) Releasedir(context.Context, uint32) {
	for _, e := range l.entries {
		l.dir.m.numbers.release(e.Ino)
	}
	l.entries, l.next = nil, 0
}
