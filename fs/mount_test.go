package fs

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/tree"
)

// nodes are the children of a directory by their names.
type nodes map[string]tree.Node

// dir makes a directory of the nodes.
func (n nodes) dir(key tree.Key) tree.Dir {
	return tree.Dir{
		Thing: tree.Thing{Key: key},
		List: func() []tree.Entry {
			var entries []tree.Entry
			for _, name := range slices.Sorted(maps.Keys(n)) {
				entries = append(entries, tree.Entry{Name: name, Kind: n[name].Kind(), Key: n[name].Identity().Key})
			}
			return entries
		},
		Find: func(name string) (tree.Node, bool) {
			node, ok := n[name]
			return node, ok
		},
	}
}

// is gives a node an identity.
func is(key tree.Key) tree.Thing { return tree.Thing{Key: key} }

// mount mounts a tree of the given children for the length of the test.
func mount(t *testing.T, cfg Config, children nodes) string {
	t.Helper()
	return mountDir(t, cfg, children.dir("")).mountpoint
}

func mountDir(t *testing.T, cfg Config, root tree.Dir) *Server {
	t.Helper()
	dirname := t.TempDir()
	cfg.Type, cfg.Name, cfg.Log = "imsfs-test", t.Name(), slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := Mount(dirname, root, cfg)
	if err != nil {
		t.Fatal(err)
	}
	endPolling(t, dirname)
	t.Cleanup(func() {
		if err := s.Unmount(); err != nil {
			t.Errorf("unmounting: %v", err)
			s.Detach()
		}
	})
	return s
}

// endPolling makes the kernel ask whether files can be polled, once: the answer is no. The tests
// read the tree in the process that serves it, and Go's runtime polls files that it opens without
// giving up the processor that is needed for the answer.
func endPolling(t *testing.T, mountpoint string) {
	t.Helper()
	fd, err := unix.Open(filepath.Join(mountpoint, ".go-fuse-epoll-hack"), unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0); err != nil {
		t.Fatal(err)
	}
}

func logTo(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

func TestReadAheadIsRaised(t *testing.T) {
	at := mount(t, Config{ReadAhead: 4 << 20}, nil)
	var st unix.Stat_t
	if err := unix.Stat(at, &st); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(got)) != "4096" {
		t.Errorf("read_ahead_kb is %q, want 4096", got)
	}
}

func TestMountFlags(t *testing.T) {
	at := mount(t, Config{Space: Space{Dir: t.TempDir()}}, nil)
	var st unix.Statfs_t
	must(t, unix.Statfs(at, &st))
	if want := int64(unix.ST_NOSUID | unix.ST_NODEV); st.Flags&want != want {
		t.Errorf("flags %#x, want nosuid and nodev", st.Flags)
	}
}

// A process that has the connection of a tree keeps the tree alive, and if it waits for the tree for
// ever.
func TestConnectionIsNotInherited(t *testing.T) {
	mount(t, Config{}, nil)
	out, err := exec.Command("ls", "-l", "/proc/self/fd").Output()
	if err != nil || strings.Contains(string(out), "/dev/fuse") {
		t.Errorf("a child has open:\n%s%v", out, err)
	}
}

// Names are looked up each time, unless they never change.
func TestNamesThatLast(t *testing.T) {
	for _, lasting := range []bool{false, true} {
		sub := nodes{"file": emptyText("file")}.dir("sub")
		var finds atomic.Int64
		find := sub.Find
		sub.Find = func(name string) (tree.Node, bool) { finds.Add(1); return find(name) }
		sub.Lasting = lasting
		at := mount(t, Config{}, nodes{"sub": sub})
		for range 10 {
			must(t, unix.Stat(filepath.Join(at, "sub", "file"), &unix.Stat_t{}))
		}
		if got := finds.Load(); lasting != (got == 1) {
			t.Errorf("lasting %t: %d look-ups for 10 stats", lasting, got)
		}
	}
}
