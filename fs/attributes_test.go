package fs

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/tree"
)

func TestStatfsIsTheStoresSpace(t *testing.T) {
	store := t.TempDir()
	var host unix.Statfs_t
	must(t, unix.Statfs(store, &host))
	const unit = 1 << 20
	for _, c := range []struct {
		name        string
		limit, used int64
		total, free uint64 // bytes
	}{
		{"without a limit", 0, 0, host.Blocks * uint64(host.Frsize), host.Bavail * uint64(host.Frsize)},
		{"with a limit", 100 * unit, 40 * unit, 100 * unit, 60 * unit},
		{"over the limit", 100 * unit, 140 * unit, 100 * unit, 0},
		{"with a limit above the file system's size", 1 << 60, 0, host.Blocks * uint64(host.Frsize), host.Bavail * uint64(host.Frsize)},
	} {
		t.Run(c.name, func(t *testing.T) {
			space := Space{Dir: store, Limit: c.limit, Used: func() (int64, error) { return c.used, nil }}
			at := mount(t, Config{Space: space}, nodes{
				"dir": nodes{}.dir("dir"), "text": emptyText("text"), "disk": constant("disk", volume("disk", 1<<20)),
				"ctl": tree.Control{Thing: is("ctl"), Commander: &clerk{}},
			})
			for _, path := range []string{"", "dir", "text", "disk", "ctl"} {
				var st unix.Statfs_t
				must(t, unix.Statfs(filepath.Join(at, path), &st))
				near := func(got, want uint64) bool { return max(got, want)-min(got, want) <= want/10+unit }
				if !near(st.Blocks*uint64(st.Frsize), c.total) || !near(st.Bavail*uint64(st.Frsize), c.free) {
					t.Errorf("%q has %d of %d blocks of %d bytes free, want %d of %d bytes", path, st.Bavail, st.Blocks, st.Frsize, c.free, c.total)
				}
				if st.Bsize < 512 || st.Namelen != 255 {
					t.Errorf("%q has a block size of %d and names of %d bytes", path, st.Bsize, st.Namelen)
				}
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// everyKind is a tree with a node of each kind.
func everyKind() nodes {
	return nodes{
		"dir":    nodes{"text": emptyText("inner")}.dir("dir"),
		"text":   emptyText("text"),
		"ctl":    tree.Control{Thing: is("ctl"), Commander: &clerk{}},
		"image":  constant("image", volume("image", 1<<20).readOnly()),
		"volume": volume("volume", 1<<20).node(),
	}
}

func TestChangeThatChangesNothing(t *testing.T) {
	at := mount(t, Config{}, everyKind())
	for name, refusal := range map[string]error{
		"dir": syscall.EPERM, "text": syscall.EPERM, "ctl": syscall.EPERM, "image": syscall.EROFS, "volume": syscall.EPERM,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(at, name)
			var st unix.Stat_t
			must(t, unix.Stat(path, &st))
			must(t, os.Chmod(path, os.FileMode(st.Mode&0o7777)))
			must(t, os.Chown(path, int(st.Uid), int(st.Gid)))
			must(t, os.Chown(path, -1, int(st.Gid)))
			if err := os.Chmod(path, os.FileMode(st.Mode&0o7777|0o002)); !errors.Is(err, refusal) {
				t.Errorf("another mode: %v, want %v", err, refusal)
			}
			if err := os.Chown(path, 12345, -1); !errors.Is(err, refusal) {
				t.Errorf("another owner: %v, want %v", err, refusal)
			}
			if name == "image" || name == "volume" {
				must(t, os.Truncate(path, st.Size))
				if err := os.Truncate(path, st.Size-512); !errors.Is(err, refusal) {
					t.Errorf("another size: %v, want %v", err, refusal)
				}
			}
			var after unix.Stat_t
			must(t, unix.Stat(path, &after))
			if after.Mode != st.Mode || after.Uid != st.Uid || after.Gid != st.Gid || after.Size != st.Size {
				t.Errorf("it was %v and is %v", st, after)
			}
		})
	}
}

func TestTimesOfAVolume(t *testing.T) {
	at := mount(t, Config{}, everyKind())
	when := time.Unix(1_000_000_000, 0)
	must(t, os.Chtimes(filepath.Join(at, "volume"), when, when))
	if st, err := os.Stat(filepath.Join(at, "volume")); err != nil || !st.ModTime().Equal(when) {
		t.Errorf("its time is %v, %v", st.ModTime(), err)
	}
	if err := os.Chtimes(filepath.Join(at, "image"), when, when); !errors.Is(err, syscall.EROFS) {
		t.Errorf("the time of an image: %v", err)
	}
}

// What is done by commands is refused with one error everywhere, and never reported as a success.
func TestRefusedOperations(t *testing.T) {
	at := mount(t, Config{}, everyKind())
	in := func(elem ...string) string { return filepath.Join(append([]string{at}, elem...)...) }
	for name, do := range map[string]func() error{
		"mkdir":                 func() error { return os.Mkdir(in("new"), 0o755) },
		"mknod":                 func() error { return unix.Mknod(in("new"), unix.S_IFIFO|0o644, 0) },
		"symlink":               func() error { return os.Symlink("text", in("new")) },
		"link":                  func() error { return os.Link(in("text"), in("new")) },
		"create":                func() error { return os.WriteFile(in("new"), nil, 0o600) },
		"create in a directory": func() error { return os.WriteFile(in("dir", "new"), nil, 0o600) },
		"rename":                func() error { return unix.Rename(in("text"), in("new")) },
		"rename over another":   func() error { return unix.Rename(in("text"), in("ctl")) },
		"rename a directory":    func() error { return unix.Rename(in("dir"), in("new")) },
		"move":                  func() error { return unix.Rename(in("text"), in("dir", "text")) },
		"unlink a text":         func() error { return unix.Unlink(in("text")) },
		"unlink a disk":         func() error { return unix.Unlink(in("volume")) },
		"rmdir":                 func() error { return unix.Rmdir(in("dir")) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := do(); !errors.Is(err, syscall.EPERM) {
				t.Errorf("%v, want EPERM", err)
			}
		})
	}
	if fd, err := unix.Open(at, unix.O_TMPFILE|unix.O_RDWR, 0o600); !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Errorf("O_TMPFILE: %d, %v", fd, err)
	}
	entries, err := os.ReadDir(at)
	if err != nil || len(entries) != 5 {
		t.Errorf("after all that it has %v, %v", entries, err)
	}
}

func TestFsyncOfEverything(t *testing.T) {
	at := mount(t, Config{}, everyKind())
	for _, name := range []string{"", "dir", "text", "ctl", "image", "volume"} {
		f := open(t, filepath.Join(at, name), os.O_RDONLY)
		if err := f.Sync(); err != nil {
			t.Errorf("fsync of %q: %v", name, err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			t.Errorf("fdatasync of %q: %v", name, err)
		}
	}
}

// tar, rsync and cp expect as many bytes as stat promises.
func TestSizeIsThatOfTheBytes(t *testing.T) {
	at := mount(t, Config{}, nodes{
		"ctl":  tree.Control{Thing: is("ctl"), Commander: &clerk{}},
		"text": tree.Text{Thing: is("text"), Content: func(command.Actor) string { return "some words\n" }},
	})
	for _, name := range []string{"ctl", "text"} {
		st, err := os.Stat(filepath.Join(at, name))
		must(t, err)
		b, err := os.ReadFile(filepath.Join(at, name))
		if err != nil || int64(len(b)) != st.Size() || len(b) == 0 {
			t.Errorf("%s has %d bytes and a size of %d, %v", name, len(b), st.Size(), err)
		}
	}
}
