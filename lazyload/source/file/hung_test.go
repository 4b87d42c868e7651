package file

import (
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// badFile is a file of a file system that misbehaves.
type badFile struct {
	fs.Inode
	size    uint64        // as it claims
	content []byte        // as it has it
	hang    chan struct{} // Open waits until it is closed, if it is not nil
}

var (
	_ fs.NodeGetattrer = (*badFile)(nil)
	_ fs.NodeOpener    = (*badFile)(nil)
	_ fs.NodeReader    = (*badFile)(nil)
)

func (b *badFile) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = 0o600, b.size
	return 0
}

func (b *badFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if b.hang != nil {
		<-b.hang
	}
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (b *badFile) Read(_ context.Context, _ fs.FileHandle, p []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if off >= int64(len(b.content)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(p[:copy(p, b.content[off:])]), 0
}

// mountBad mounts a file system with one bad file and returns its path.
func mountBad(t *testing.T, b *badFile) string {
	t.Helper()
	dir := t.TempDir()
	root := &fs.Inode{}
	server, err := fs.Mount(dir, root, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMount: true},
		OnAdd: func(ctx context.Context) {
			root.AddChild("image", root.NewPersistentInode(ctx, b, fs.StableAttr{Mode: fuse.S_IFREG}), false)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "image")
}

func TestHungFileSystemIsGivenUp(t *testing.T) {
	b := &badFile{size: 4, content: []byte("text"), hang: make(chan struct{})}
	release := sync.OnceFunc(func() { close(b.hang) })
	path := mountBad(t, b)
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (Kind{}).Open(ctx, at(path)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Open: %v, want context.DeadlineExceeded", err)
	}
	release()
	f, err := Kind{}.Open(t.Context(), at(path))
	if err != nil {
		t.Fatalf("Open of a file system that answers again: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestShortReadIsAnError(t *testing.T) {
	f := open(t, mountBad(t, &badFile{size: 100, content: []byte("text")}))
	if err := f.ReadAt(t.Context(), make([]byte, 8), 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("ReadAt past the last byte: %v, want io.ErrUnexpectedEOF", err)
	}
	if err := f.ReadAt(t.Context(), make([]byte, 4), 0); err != nil {
		t.Errorf("ReadAt of the bytes that are there: %v", err)
	}
}

func TestExceptedDirectory(t *testing.T) {
	_, in, out := pair(t)
	k := Kind{Except: in}
	if _, err := k.Open(t.Context(), at(filepath.Join(in, "file"))); !errors.Is(err, iofs.ErrInvalid) {
		t.Errorf("a file in the excepted directory: %v, want iofs.ErrInvalid", err)
	}
	o, err := k.Open(t.Context(), at(filepath.Join(out, "file")))
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}
