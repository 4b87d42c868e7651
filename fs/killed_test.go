package fs

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/tree"
)

// hung is a disk, and a Commander, on which nothing ends before its ctx.
type hung struct {
	sized
	begun chan struct{}
	ended chan error
}

func (h hung) wait(ctx context.Context) error {
	h.begun <- struct{}{}
	<-ctx.Done()
	h.ended <- ctx.Err()
	return ctx.Err()
}

func (h hung) Do(ctx context.Context, _ command.Call) error { return h.wait(ctx) }
func (h hung) Verbs() string                                { return "" }
func (h hung) Allocated() int64                             { return 0 }

func (h hung) Open(context.Context) (tree.OpenDisk, error) { return h, nil }

func (h hung) ReadAt(ctx context.Context, _ []byte, _ int64) (int, error) { return 0, h.wait(ctx) }

func (h hung) Extent(ctx context.Context, _, _ int64) (formats.Extent, error) {
	return formats.Extent{}, h.wait(ctx)
}

// hungOpening is a disk whose opening does not end before its ctx.
type hungOpening struct{ hung }

func (h hungOpening) Open(ctx context.Context) (tree.OpenDisk, error) { return nil, h.wait(ctx) }

// A process that is being killed waits for the answer to its system call, which it will never see.
// What hangs must end then, whichever other signals came before.
func TestKilledCallerEndsWhatItWaitsFor(t *testing.T) {
	h := hung{1 << 20, make(chan struct{}), make(chan error, 1)}
	at := mount(t, Config{}, nodes{
		"ctl":     tree.Control{Thing: is("ctl"), Commander: h},
		"disk":    constant("disk", h),
		"opening": constant("opening", hungOpening{h}),
		"other":   emptyText("other"),
	})
	for name, call := range map[string]string{
		"a command": `os.write(os.open("ctl", os.O_WRONLY), b"register")`,
		"an open":   `os.open("opening", os.O_RDONLY)`,
		"a read":    `os.preadv(os.open("disk", os.O_RDONLY | os.O_DIRECT), [mmap.mmap(-1, 4096)], 0)`,
		"a seek":    `os.lseek(os.open("disk", os.O_RDONLY), 0, os.SEEK_DATA)`,
	} {
		for _, last := range []syscall.Signal{unix.SIGKILL, unix.SIGTERM} {
			t.Run(name+"/"+last.String(), func(t *testing.T) {
				cmd := exec.Command("python3", "-c", `
import mmap, os, signal, sys
signal.signal(signal.SIGUSR1, lambda *a: None)
os.chdir(sys.argv[1])
`+call, at)
				must(t, cmd.Start())
				<-h.begun
				must(t, cmd.Process.Signal(unix.SIGUSR1))
				// The kernel tells of an interrupt before it asks anything else.
				must(t, unix.Stat(filepath.Join(at, "other"), &unix.Stat_t{}))
				select {
				case err := <-h.ended:
					t.Fatalf("it ended before its caller: %v", err)
				default:
				}
				must(t, cmd.Process.Signal(last))
				select {
				case err := <-h.ended:
					if !errors.Is(err, context.Canceled) {
						t.Errorf("it ended with %v", err)
					}
				case <-time.After(time.Minute):
					t.Fatal("it goes on for a caller that was killed")
				}
				if err := cmd.Wait(); err == nil {
					t.Error("the caller was not killed")
				}
			})
		}
	}
}

// A ctx that is used after the request was answered watches nothing.
func TestRequestThatIsAnswered(t *testing.T) {
	r := patient(t.Context())
	r.end()
	if r.Done() != nil || r.Err() != nil {
		t.Error("an answered request can still end")
	}
	r.end()
}
