package fs

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/tree"
)

// slow is work that takes until it is let go, and that is refused if its ctx is over by then.
type slow struct{ begun, finish chan struct{} }

func newSlow() slow { return slow{make(chan struct{}), make(chan struct{})} }

func (s slow) do(ctx context.Context) error {
	s.begun <- struct{}{}
	<-s.finish
	return ctx.Err()
}

// interrupted makes a system call on a thread that is sent a signal while the work lasts, and returns its error.
// stat is a file of the same mount.
func (s slow) interrupted(t *testing.T, stat string, call func() error) error {
	t.Helper()
	thread, done := make(chan int), make(chan error)
	go func() {
		runtime.LockOSThread() // and the thread ends with the goroutine
		thread <- unix.Gettid()
		done <- call()
	}()
	tid := <-thread
	<-s.begun
	if err := unix.Tgkill(unix.Getpid(), tid, unix.SIGURG); err != nil {
		t.Error(err)
	}
	// The kernel tells of an interrupt before it asks anything else, so once this is answered it has.
	if _, err := os.Stat(stat); err != nil {
		t.Error(err)
	}
	s.finish <- struct{}{}
	return <-done
}

// emptyText is a file to stat.
func emptyText(key tree.Key) tree.Text {
	return tree.Text{Thing: is(key), Content: func(command.Actor) string { return "" }}
}

// constant is a disk whose bytes never change.
func constant(key tree.Key, f tree.DiskFile) tree.Disk {
	return tree.Disk{Thing: is(key), Name: string(key), File: f, Constant: true}
}

type slowClerk struct{ slow }

func (c slowClerk) Do(ctx context.Context, _ command.Call) error { return c.do(ctx) }
func (c slowClerk) Verbs() string                                { return "" }

// slowDisk is a DiskFile, and the Disk it opens.
type slowDisk struct {
	diskOf
	slow
}

func (d slowDisk) Open(context.Context) (tree.OpenDisk, error) { return d, nil }
func (d slowDisk) Close() error                                { return nil }

func (d slowDisk) View(ctx context.Context, scratch []byte, off int64) (*lazyload.View, error) {
	if err := d.do(ctx); err != nil {
		return nil, err
	}
	return d.Disk.View(ctx, scratch, off)
}

// A signal is no wish to take a command back. Who is told that the call was interrupted writes again, and then the
// command that was carried out stands in its own way.
func TestSignalsDoNotInterruptCommands(t *testing.T) {
	clerk := slowClerk{newSlow()}
	at := mount(t, Config{}, nodes{"ctl": tree.Control{Thing: is("ctl"), Commander: clerk}, "other": emptyText("other")})
	f := open(t, filepath.Join(at, "ctl"), os.O_WRONLY)
	for range 100 {
		err := clerk.interrupted(t, filepath.Join(at, "other"), func() error {
			_, err := unix.Write(int(f.Fd()), []byte("register"))
			return err
		})
		if err != nil {
			t.Fatalf("write of a command: %v", err)
		}
	}
}

// No program expects a read of a file to be interrupted.
func TestSignalsDoNotInterruptReads(t *testing.T) {
	const size = 4 << 20
	l := lazyload.New(lazyload.Config{})
	d := slowDisk{diskOf{l.Open(&island{size: size})}, newSlow()}
	t.Cleanup(func() {
		d.Disk.Close()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	at := mount(t, Config{}, nodes{"disk": constant("disk", d), "other": emptyText("other")})
	f := open(t, filepath.Join(at, "disk"), os.O_RDONLY|unix.O_DIRECT)
	p := aligned(4096)
	for range 100 {
		err := d.interrupted(t, filepath.Join(at, "other"), func() error {
			_, err := unix.Pread(int(f.Fd()), p, size/2)
			return err
		})
		if err != nil {
			t.Fatalf("read of a disk: %v", err)
		}
	}
}
