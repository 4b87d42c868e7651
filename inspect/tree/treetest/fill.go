package treetest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Fill makes a directory with everything that a file system with these traits can hold, always the
// same. It needs some 12 MiB. Symbolic links, devices, owners and attributes need root.
func Fill(t testing.TB, dir string, has Traits) {
	t.Helper()
	f := &filler{t: t, top: dir, has: has, random: rand.NewChaCha8([32]byte{1})}
	f.sizes()
	f.sparse()
	f.directories()
	f.names()
	f.links()
	f.nodes()
	f.owners()
	f.xattrs()
	f.dates()
}

type filler struct {
	t      testing.TB
	top    string
	has    Traits
	random *rand.ChaCha8
}

func (f *filler) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *filler) path(name string) string { return f.top + "/" + name }

func (f *filler) mkdir(name string) {
	f.t.Helper()
	f.must(os.MkdirAll(f.path(name), 0o755))
}

func (f *filler) write(name string, data []byte) {
	f.t.Helper()
	f.must(os.WriteFile(f.path(name), data, 0o644))
}

func (f *filler) bytes(n int) []byte {
	p := make([]byte, n)
	f.random.Read(p) // never fails
	return p
}

// sizes are files around the sizes at which layouts change, random and compressible.
func (f *filler) sizes() {
	f.mkdir("sizes")
	for _, n := range []int{0, 1, 59, 60, 61, 100, 155, 156, 157, 300, 511, 512, 513, 1023, 2047, 2049, 3000,
		4095, 4096, 4097, 8191, 8193, 65535, 65536, 65537, 131072, 131073, 1<<20 + 3} {
		f.write(fmt.Sprintf("sizes/%d", n), f.bytes(n))
	}
	text := strings.Repeat("the quick brown fox jumps over the lazy dog\n", 7001)
	f.write("sizes/text", []byte(text))
	f.write("sizes/zeros", make([]byte, 70001))
	var mixed []byte
	for i := range 40 {
		mixed = append(append(mixed, f.bytes(3000+i)...), text[:9000+i]...)
	}
	f.write("sizes/mixed", mixed)
}

// sparse are files with holes at all places, and one of 700 extents.
func (f *filler) sparse() {
	f.mkdir("sparse")
	unit := int64(1 << 16)
	if f.has.Holes {
		unit = 1 << 28
	}
	for _, file := range []struct {
		name   string
		pieces []int64
	}{
		{"begin", []int64{3 * unit}},
		{"middle", []int64{0, 2*unit + 4096, 5 * unit}},
		{"odd", []int64{1, unit + 1234, 2*unit - 1}},
		{"none", nil},
		{"far", []int64{0, 40 * unit}},
	} {
		f.pieces("sparse/"+file.name, file.pieces, 5000, 41*unit+17)
	}
	var pieces []int64
	for i := range int64(700) {
		pieces = append(pieces, i*8192)
	}
	f.pieces("fragments", pieces, 4096, 700*8192)
	f.unwritten("unwritten")
}

// unwritten makes a file with space that was never written around its data, where the host can.
func (f *filler) unwritten(name string) {
	file, err := os.Create(f.path(name))
	f.must(err)
	defer file.Close()
	if err := unix.Fallocate(int(file.Fd()), 0, 0, 1<<20); err != nil && err != unix.EOPNOTSUPP {
		f.must(err)
	}
	_, err = file.WriteAt(f.bytes(9000), 300000)
	f.must(err)
	f.must(file.Truncate(1 << 20))
}

// pieces makes a file with random bytes at some offsets.
func (f *filler) pieces(name string, at []int64, length int, size int64) {
	file, err := os.Create(f.path(name))
	f.must(err)
	defer file.Close()
	for _, off := range at {
		_, err := file.WriteAt(f.bytes(length), off)
		f.must(err)
	}
	f.must(file.Truncate(size))
}

// directories are an empty one, one of many names, and a deep path.
func (f *filler) directories() {
	f.mkdir("dirs/empty")
	f.mkdir("dirs/many")
	for i := range f.has.Many {
		f.write(fmt.Sprintf("dirs/many/entry number %d", i), nil)
	}
	f.mkdir("dirs" + strings.Repeat("/down", 40))
	f.write("dirs"+strings.Repeat("/down", 40)+"/bottom", []byte("bottom\n"))
}

func (f *filler) names() {
	f.mkdir("names")
	names := []string{"a", "UPPER", "with space", ".hidden", "ümlaut", "u\u0308mlaut", "日本語", "emoji 🙂",
		"two.dots.tar.gz", "~tilde", "~$1", "semi;colon", "[x]", strings.Repeat("n", 200), "-rf", "#hash"}
	if f.has.ByteNames {
		names = append(names, "\xff\xfe", "half\xc3", "\x1b[31mred", "new\nline", "tab\t", "\x7f", "\u0085", "\u202e", "back\\slash",
			"quote\"", "star*", "colon:", " ", "upper", "...", "trailing ", "trailing.", strings.Repeat("\xe9", 255), strings.Repeat("x", 255))
	}
	for _, name := range names {
		f.write("names/"+name, []byte(name))
	}
}

func (f *filler) links() {
	if f.has.HardLinks {
		f.mkdir("links/dir")
		f.write("links/first", []byte("one file, three names\n"))
		f.must(os.Link(f.path("links/first"), f.path("links/second")))
		f.must(os.Link(f.path("links/first"), f.path("links/dir/third")))
	}
	if !f.has.Symlinks {
		return
	}
	f.mkdir("symlinks")
	for name, target := range map[string]string{"short": "a", "absolute": "/etc/passwd", "out": "../../../../etc",
		"loop": "loop", "ring1": "ring2", "ring2": "ring1", "broken": "not there", "dir": "../dirs", "bytes": "\xff\x1b"} {
		f.must(os.Symlink(target, f.path("symlinks/"+name)))
	}
	for _, n := range []int{23, 38, 59, 60, 61, 155, 156, 157, 255, 300, 500, 1000, 1023, 4095} {
		if n <= f.has.MaxTarget {
			f.must(os.Symlink(strings.Repeat("./longpath", n/10+1)[:n], f.path(fmt.Sprintf("symlinks/%d", n))))
		}
	}
}

func (f *filler) nodes() {
	if !f.has.Devices {
		return
	}
	f.mkdir("nodes")
	for name, n := range map[string]struct {
		mode         uint32
		major, minor uint32
	}{
		"null": {unix.S_IFCHR | 0o666, 1, 3}, "disk": {unix.S_IFBLK | 0o660, 8, 1}, "large": {unix.S_IFBLK | 0o600, 300, 70000},
		"minor": {unix.S_IFCHR | 0o600, 5, 255}, "zero": {unix.S_IFCHR | 0o600, 0, 0}, "fifo": {mode: unix.S_IFIFO | 0o600},
		"socket": {mode: unix.S_IFSOCK | 0o755},
	} {
		f.must(unix.Mknod(f.path("nodes/"+name), n.mode, int(unix.Mkdev(n.major, n.minor))))
	}
}

func (f *filler) owners() {
	f.mkdir("owners")
	for i, mode := range []uint32{0, 0o400, 0o4755, 0o2755, 0o1777, 0o7777, 0o640} {
		name := fmt.Sprintf("owners/%o", mode)
		f.write(name, []byte(name))
		if f.has.Owners {
			f.must(os.Lchown(f.path(name), []int{0, 1000, 65534, 65536, 70000, 1<<31 + 5, 1<<32 - 2}[i], 7*i+1000*i*i))
		}
		if f.has.Modes { // after the owner, which clears setuid
			f.must(unix.Chmod(f.path(name), mode))
		}
	}
}

func (f *filler) xattrs() {
	if !f.has.Xattrs {
		return
	}
	f.mkdir("xattrs/dir")
	set := func(name, attribute string, value []byte) {
		f.t.Helper()
		if err := unix.Lsetxattr(f.path(name), attribute, value, 0); err != nil {
			f.t.Fatal(&os.PathError{Op: "lsetxattr " + attribute, Path: name, Err: err})
		}
	}
	for _, name := range []string{"small", "empty", "large", "many", "acl", "capability"} {
		f.write("xattrs/"+name, []byte(name))
	}
	set("xattrs/small", "user.a", []byte("b"))
	set("xattrs/small", "trusted.t", []byte("only root"))
	set("xattrs/empty", "user.empty", nil)
	set("xattrs/large", "user.large", f.bytes(f.has.XattrRoom/2))
	for i := range f.has.XattrRoom / 100 {
		set("xattrs/many", fmt.Sprintf("user.number %d", i), f.bytes(i))
	}
	set("xattrs/acl", "system.posix_acl_access", acl(0o6, 1000, 0o4, 0o4, 0o6, 0))
	set("xattrs/dir", "system.posix_acl_default", acl(0o7, 65536, 0o5, 0o5, 0o7, 0o5))
	set("xattrs/dir", "user.dir", []byte("of a directory"))
	set("xattrs/capability", "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	if f.has.Symlinks {
		f.must(os.Symlink("small", f.path("xattrs/link")))
		set("xattrs/link", "trusted.link", []byte("of a link"))
	}
}

// acl is a POSIX ACL as the kernel takes it, with an entry for one more user.
func acl(owner uint16, user uint32, userPerm, group, mask, other uint16) []byte {
	const anyone = 1<<32 - 1
	b := []byte{2, 0, 0, 0}
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, owner, anyone}, {2, userPerm, user}, {4, group, anyone}, {16, mask, anyone}, {32, other, anyone}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// dates sets modification times from 1901 to 2400, those that the file system can hold, and gives
// all other files one that does not depend on the clock.
func (f *filler) dates() {
	f.mkdir("dates")
	f.must(filepath.WalkDir(f.top, func(path string, e os.DirEntry, err error) error {
		if err != nil || path == f.top || e.Name() == "lost+found" {
			return err
		}
		return setTime(path, 1600000000, 123456789)
	}))
	for _, sec := range []int64{-2147483648, -315619200, -1, 0, 1, 315532800, 2147483647, 2147483648, 4294967295, 4294967296,
		6442450944, 9214646400, 9223372036, 10413792000, 13569465600} {
		if sec < f.has.Oldest || sec > f.has.Newest {
			continue
		}
		for i, nsec := range []int64{0, 1, 999999999} {
			name := fmt.Sprintf("dates/%d-%d", sec, i)
			f.write(name, []byte(name))
			f.must(setTime(f.path(name), sec, nsec))
		}
	}
	f.must(setTime(f.path("dates"), 1500000000, 5))
}

func setTime(path string, sec, nsec int64) error {
	times := []unix.Timespec{{Sec: 1700000000, Nsec: 987654321}, {Sec: sec, Nsec: nsec}}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "utimensat", Path: path, Err: err}
	}
	return nil
}
