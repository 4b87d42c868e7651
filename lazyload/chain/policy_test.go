package chain

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats"
)

// watch returns a function that tells which files of the directory, not directories, were opened since.
func watch(t *testing.T, dir string) func() string {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	return func() string {
		b := make([]byte, 64<<10)
		n, err := unix.Read(fd, b)
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
		var names []string
		for b = b[:max(n, 0)]; len(b) > 0; {
			mask, length := binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint32(b[12:])
			name := b[unix.SizeofInotifyEvent : unix.SizeofInotifyEvent+length]
			if mask&unix.IN_ISDIR == 0 {
				names = append(names, string(bytes.TrimRight(name, "\x00")))
			}
			b = b[unix.SizeofInotifyEvent+length:]
		}
		return strings.Join(names, " ")
	}
}

// forbidden are names in an image that are not followed, and words of the reason. OUT is a directory with a file secret,
// that the image's own is a neighbour of.
var forbidden = []struct{ name, rule string }{
	{"/etc/shadow", "an absolute path"},
	{"OUT/secret", "an absolute path"},
	{"OWN/base", "an absolute path"},
	{"nbd://localhost/disk", "a protocol"},
	{"nbd:unix:/run/nbd", "a protocol"},
	{`json:{"driver":"file","filename":"OUT/secret"}`, "a protocol"},
	{"file:OUT/secret", "a protocol"},
	{"file:base", "a protocol"},
	{"fat:rw:/etc", "a protocol"},
	{"https://example.org/base", "a protocol"},
	{`C:\images\base.vhd`, "a protocol"},
	{"../out/secret", `".."`},
	{"..", `".."`},
	{"./../out/secret", `".."`},
	{"sub/../../out/secret", `".."`},
	{"sub/../base", `".."`},
	{"base\n", "control characters"},
	{"ba\x00se", "control characters"},
	{"\x1b[2Jbase", "control characters"},
	{"\xff\xfebase", "not UTF-8"},
	{"b\u202eesab", "control characters"},
	{strings.Repeat("a", 4096), "longer than any path"},
	{"to-out", "a symbolic link leads to"},
	{"to-out-relative", "a symbolic link leads to"},
	{"to-directory/secret", "a symbolic link leads to"},
	{"sub/to-out", "a symbolic link leads to"},
	{"to-to-out", "a symbolic link leads to"},
	{"to-crooked", "a symbolic link leads to"},
	{"fifo", "not a regular file"},
	{"socket", "not a regular file"},
	{"sub", "not a regular file"},
	{".", "names a directory"},
	{"base/", "names a directory"},
	{"base/.", "names a directory"},
}

// neighbours makes an image's directory and the one beside it, which it must not look into.
func neighbours(t *testing.T) (own, out string) {
	t.Helper()
	dir := files(t, map[string]string{
		"own/base":              "script 4\ndata 0 4 b\n",
		"own/sub/base":          "script 4\ndata 0 4 s\n",
		"own/to-out->":          "DIR/out/secret",
		"own/to-out-relative->": "../out/secret",
		"own/to-directory->":    "../out",
		"own/sub/to-out->":      "../../out/secret",
		"own/to-to-out->":       "to-out",
		"own/to-crooked->":      "sub/../base",
		"own/to-inside->":       "base",
		"own/to-absolute->":     "DIR/own/base",
		"own/sub/to-up->":       "../base",
		"own/to-sub->":          "sub",
		"own/loop->":            "loop",
		"out/secret":            "script 4\ndata 0 4 x\n",
		"out/next":              "script 4\nbacking secret\n",
		"out-er/secret":         "script 4\n",
	})
	own, out = filepath.Join(dir, "own"), filepath.Join(dir, "out")
	if err := unix.Mkfifo(filepath.Join(own, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(filepath.Join(own, "socket"), unix.S_IFSOCK|0o600, 0); err != nil {
		t.Fatal(err)
	}
	return own, out
}

// image writes an image with the given lines.
func image(t *testing.T, path string, lines ...string) string {
	t.Helper()
	text := strings.Join(append([]string{"script 4"}, lines...), "\n") + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestForbiddenNamesAreRefusedUnopened(t *testing.T) {
	own, out := neighbours(t)
	for _, what := range []string{"backing", "part"} {
		for _, c := range forbidden {
			name := strings.NewReplacer("OUT", out, "OWN", own).Replace(c.name)
			if strings.Contains(name, "\n") && what == "part" {
				continue // the test's format cannot say it
			}
			t.Run(fmt.Sprintf("%s %.40q", what, c.name), func(t *testing.T) {
				set := testSet()
				set.Drivers = []formats.Driver{naming{what, name}}
				top := image(t, filepath.Join(own, "top"))
				outside, inside := watch(t, out), watch(t, own)
				chain, err := Open(t.Context(), top, Config{Formats: set, Sources: onlyFiles(), Format: "naming"})
				if err == nil {
					chain.Close()
				}
				if !errors.Is(err, iofs.ErrPermission) {
					t.Fatalf("%v, want a refusal", err)
				}
				said := err.Error()
				for _, words := range []string{top, fmt.Sprintf("%q", name), c.rule} {
					if !strings.Contains(said, words) {
						t.Errorf("%s\nwant it to have %s", said, words)
					}
				}
				if what == "backing" && !strings.Contains(said, "layer 1") {
					t.Errorf("%s\nwant it to have the layer", said)
				}
				if opened := outside(); opened != "" {
					t.Errorf("%s was opened", opened)
				}
				if opened := inside(); opened != "top" {
					t.Errorf("%q were opened, want top", opened)
				}
			})
		}
	}
}

// naming is an image that names one file, whatever it is.
type naming struct{ what, name string }

func (naming) Name() string                                        { return "naming" }
func (naming) Probe(context.Context, formats.Source) (bool, error) { return false, nil }

func (n naming) Open(ctx context.Context, _ formats.Source, opts formats.OpenOptions) (formats.Image, error) {
	img := &scriptImage{info: formats.Info{Format: "naming", Size: 4, ClusterSize: 512}}
	if n.what == "part" {
		_, err := opts.Files.Open(ctx, n.name)
		return img, err
	}
	img.info.Backing = &formats.Backing{Paths: []string{n.name}, Format: "script"}
	return img, nil
}

func TestNamesThatStayInside(t *testing.T) {
	own, _ := neighbours(t)
	for name, want := range map[string]string{
		"base": "bbbb", "./base": "bbbb", ".//base": "bbbb", "sub/base": "ssss", "to-inside": "bbbb", "to-absolute": "bbbb", "sub/to-up": "bbbb", "to-sub/base": "ssss",
	} {
		c := open(t, image(t, filepath.Join(own, "top"), "backing "+name), Config{})
		if got := content(t, c); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for name, says := range map[string]string{"loop": "more than 40", "missing": "no such file", "base/base": "not a directory"} {
		_, err := Open(t.Context(), image(t, filepath.Join(own, "top"), "backing "+name), Config{Formats: testSet(), Sources: onlyFiles()})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", name, err, says)
		}
	}
}

func TestLocateOpensNothing(t *testing.T) {
	own, out := neighbours(t)
	s, err := OpenSource(t.Context(), image(t, filepath.Join(own, "top")), onlyFiles())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	opened := watch(t, own)
	for name, want := range map[string]string{"base": own + "/base", "./sub/base": own + "/sub/base", "to-absolute": own + "/to-absolute"} {
		if path, err := s.Locate(t.Context(), name); path != want || err != nil {
			t.Errorf("%s: %s, %v, want %s", name, path, err, want)
		}
	}
	for _, c := range forbidden {
		name := strings.NewReplacer("OUT", out, "OWN", own).Replace(c.name)
		if _, err := s.Locate(t.Context(), name); !errors.Is(err, iofs.ErrPermission) || !strings.Contains(err.Error(), c.rule) {
			t.Errorf("%q: %v, want a refusal with %q", name, err, c.rule)
		}
	}
	if _, err := s.Locate(t.Context(), "missing"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if names := opened(); names != "" {
		t.Errorf("%s were opened", names)
	}
}

func TestAllowedDirectories(t *testing.T) {
	own, out := neighbours(t)
	alias := filepath.Join(t.TempDir(), "alias")
	if err := os.Symlink(out, alias); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, allow, want string }{
		{out + "/secret", out, "xxxx"},
		{out + "/secret", out + "/", "xxxx"},
		{out + "/secret", filepath.Dir(out), "xxxx"},
		{out + "/secret", alias, "xxxx"},
		{alias + "/secret", alias, "xxxx"},
		{"../out/secret", out, "xxxx"},
		{"../out/next", out, "xxxx"}, // and on from there
		{"to-out", out, "xxxx"},
		{"to-directory/secret", out, "xxxx"},
		{"base", out, "bbbb"},
		{own + "/base", own, "bbbb"},
		{own + "/to-inside", own, "bbbb"},
	} {
		chain := open(t, image(t, filepath.Join(own, "top"), "backing "+c.name), Config{Sources: onlyFiles("/nowhere/../"+t.TempDir(), c.allow)})
		if got := content(t, chain); got != c.want {
			t.Errorf("%s in %s: %s, want %s", c.name, c.allow, got, c.want)
		}
	}
	for _, c := range []struct{ name, allow, says string }{
		{out + "-er/secret", out, "an absolute path"},
		{"../out-er/secret", out, `".."`},
		{out + "/../own/base", out, `".."`},
		{own + "/to-out", own, "a symbolic link leads to"},
		{out, out, "not a regular file"},
		{"file:" + out + "/secret", out, "a protocol"},
		{"base", "out", "must be absolute"},
		{"base", out + "/missing", "no such file"},
	} {
		_, err := Open(t.Context(), image(t, filepath.Join(own, "top"), "backing "+c.name), Config{Formats: testSet(), Sources: onlyFiles(c.allow)})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s in %s: %v, want %q", c.name, c.allow, err, c.says)
		}
	}
}

func TestTooManyParts(t *testing.T) {
	dir := files(t, map[string]string{"top": "script 4\n", "a": "aaaa"})
	s, err := OpenSource(t.Context(), filepath.Join(dir, "top"), onlyFiles())
	if err != nil {
		t.Fatal(err)
	}
	for n := range MaxFiles {
		if _, err := s.Open(t.Context(), "./"+strings.Repeat("/", n)+"a"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Open(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "more than 1024") {
		t.Errorf("one more: %v", err)
	}
	if again, err := s.Open(t.Context(), ".//a"); err != nil || again.Size() != 4 {
		t.Errorf("one that is open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Whatever goes wrong on the way, and when all went well, no file stays open.
func TestNoFileStaysOpen(t *testing.T) {
	own, out := neighbours(t)
	image(t, filepath.Join(own, "mid"), "backing base", "part sub/base")
	before := openFiles(t)
	for _, lines := range []string{"backing mid", "backing mid\npart missing", "backing mid\npart ../x", "backing fifo", "backing to-out", "backing missing", "part base\nbacking sub"} {
		chain, err := Open(t.Context(), image(t, filepath.Join(own, "top"), lines), Config{Formats: testSet(), Sources: onlyFiles(out + "-er")})
		if err == nil {
			if err := chain.Close(); err != nil {
				t.Error(err)
			}
		}
		if now := openFiles(t); now != before {
			t.Errorf("%q: %d files are open, %d before", lines, now, before)
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
