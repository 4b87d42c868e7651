package test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// hostileNames are names in an image that the program must not open, with words of the refusal. OUT
// is a directory beside the image's own, with a file secret.
var hostileNames = []struct{ name, rule string }{
	{"/etc/shadow", "an absolute path"},
	{"OUT/secret", "an absolute path"},
	{"nbd://127.0.0.1:1/x", "a protocol"},
	{"nbd:unix:/run/x", "a protocol"},
	{`json:{"driver":"raw","file":{"driver":"file","filename":"OUT/secret"}}`, "a protocol"},
	{"file:OUT/secret", "a protocol"},
	{"ssh://root@127.0.0.1/etc/shadow", "a protocol"},
	{"../out/secret", `".."`},
	{"sub/../../out/secret", `".."`},
	{"link", "a symbolic link"},
	{"fifo", "not a regular file"},
}

// TestHostileNamesInImages: no command opens the backing file that such a name leads to.
func TestHostileNamesInImages(t *testing.T) {
	for _, name := range []string{"qcow2", "qcow", "qed"} {
		t.Run(name, func(t *testing.T) {
			format := formatNamed(t, name)
			format.need(t)
			own, out := hostileDirectory(t)
			for _, c := range hostileNames {
				backing := strings.ReplaceAll(c.name, "OUT", out)
				image := filepath.Join(own, "image")
				writeBacking(t, format, own, image, backing)
				opened := watchOpens(t, out, own)
				copied := filepath.Join(filepath.Dir(own), "copy")
				for _, command := range [][]string{
					{"map", image}, {"map", "--json", image}, {"info", "--backing-chain", image}, {"convert", "-O", "raw", image, copied},
				} {
					imsfs(t, command...).refused(t, "layer 1", c.rule)
				}
				imsfs(t, "compare", image, image).failed(t, 2, "layer 1", c.rule)
				wantWords(t, "info", mustRun(t, program, "info", image), "backing file: ", "not followed: ", c.rule)
				if names := opened(); strings.Trim(strings.ReplaceAll(names, "image", ""), " ") != "" {
					t.Errorf("%s: %q were opened", backing, names)
				}
				if _, err := os.Stat(copied); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s: %v", backing, err)
				}
			}
		})
	}
}

// TestHostileExtentsOfAVMDK: no command opens the extent that such a name leads to.
func TestHostileExtentsOfAVMDK(t *testing.T) {
	formatNamed(t, "vmdk").need(t)
	own, out := hostileDirectory(t)
	image := filepath.Join(own, "image")
	for _, c := range hostileNames {
		name := strings.ReplaceAll(c.name, "OUT", out)
		if strings.Contains(name, `"`) {
			continue // a descriptor cannot hold it
		}
		descriptor := "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n" +
			"\n# Extent description\nRW 8192 FLAT \"" + name + "\" 0\n\n# The Disk Data Base\nddb.adapterType = \"ide\"\n"
		must(t, os.WriteFile(image, []byte(descriptor), 0o600))
		opened := watchOpens(t, out, own)
		for _, command := range []string{"map", "info"} {
			imsfs(t, command, image).refused(t, image, c.rule)
		}
		if names := opened(); strings.Trim(strings.ReplaceAll(names, "image", ""), " ") != "" {
			t.Errorf("%s: %q were opened", name, names)
		}
	}
}

// hostileDirectory makes an image's directory, with a link that leads out and a fifo, and another
// directory beside it.
func hostileDirectory(t *testing.T) (own, out string) {
	t.Helper()
	dir := t.TempDir()
	own, out = filepath.Join(dir, "own"), filepath.Join(dir, "out")
	err := errors.Join(
		os.Mkdir(own, 0o700),
		os.Mkdir(out, 0o700),
		os.WriteFile(filepath.Join(out, "secret"), make([]byte, 4*mib), 0o600),
		os.Symlink("../out/secret", filepath.Join(own, "link")),
		unix.Mkfifo(filepath.Join(own, "fifo"), 0o600),
	)
	must(t, err)
	return own, out
}

// writeBacking makes an image with the name of a backing file. qemu-img, which opens such names,
// gets a harmless one of the same length first.
func writeBacking(t *testing.T, format imageFormat, dir, image, name string) {
	t.Helper()
	stand := strings.Repeat("x", len(name))
	if len(name) > 250 {
		t.Fatalf("%q is too long for a file's name", name)
	}
	path := filepath.Join(dir, stand)
	mustRun(t, "qemu-img", "create", "-q", "-f", "raw", path, "4M")
	mustRun(t, "qemu-img", "create", "-q", "-f", format.qemu, "-b", stand, "-F", "raw", image)
	content, err := os.ReadFile(image)
	must(t, err)
	if n := bytes.Count(content, []byte(stand)); n != 1 {
		t.Fatalf("the name is there %d times", n)
	}
	content = bytes.Replace(content, []byte(stand), []byte(name), 1)
	must(t, errors.Join(os.WriteFile(image, content, 0o600), os.Remove(path)))
}

// watchOpens returns a function that lists the files of the directories that were opened since.
func watchOpens(t *testing.T, dirs ...string) func() string {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	for _, dir := range dirs {
		if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_OPEN); err != nil {
			t.Fatal(err)
		}
	}
	return func() string {
		b := make([]byte, 64*kib)
		n, err := unix.Read(fd, b)
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
		var names []string
		for b = b[:max(n, 0)]; len(b) > 0; {
			mask, end := binary.NativeEndian.Uint32(b[4:]), unix.SizeofInotifyEvent+binary.NativeEndian.Uint32(b[12:])
			if mask&unix.IN_ISDIR == 0 {
				names = append(names, string(bytes.TrimRight(b[unix.SizeofInotifyEvent:end], "\x00")))
			}
			b = b[end:]
		}
		return strings.Join(names, " ")
	}
}
