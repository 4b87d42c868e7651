package treetest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
	"github.com/imsfs/imsfs/inspect/tree/treetest"
)

// hostDriver makes a tree of a directory of the host. Its "image" is a file with the directory's
// path.
type hostDriver struct{}

func (hostDriver) Name() string { return "host" }

func (hostDriver) Probe(context.Context, disk.Source) (bool, error) { return true, nil }

func (hostDriver) Open(ctx context.Context, src disk.Source, _ tree.Options) (tree.Tree, error) {
	dir := make([]byte, src.Size())
	if err := src.ReadMeta(ctx, dir, 0); err != nil {
		return nil, err
	}
	h := hostTree{dir: string(dir), paths: map[tree.ID]string{}, root: 0}
	err := filepath.WalkDir(h.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return disk.Corrupt("host", path, "%v", err)
		}
		a, err := h.stat(path)
		h.paths[a.ID] = path
		if path == h.dir {
			h.root = a.ID
		}
		return err
	})
	return h, err
}

type hostTree struct {
	dir   string
	paths map[tree.ID]string
	root  tree.ID
}

func (h hostTree) Info() tree.Info { return tree.Info{Type: "host", State: tree.Clean} }
func (h hostTree) Root() tree.ID   { return h.root }

func (h hostTree) stat(path string) (tree.Attr, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	return tree.Attr{ID: tree.ID(st.Ino), Mode: st.Mode, UID: st.Uid, GID: st.Gid, Links: uint32(st.Nlink), Size: st.Size,
		Allocated: st.Blocks * 512, Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev),
		Mtime: tree.At(st.Mtim.Sec, uint32(st.Mtim.Nsec)), Atime: tree.At(st.Atim.Sec, uint32(st.Atim.Nsec)),
		Ctime: tree.At(st.Ctim.Sec, uint32(st.Ctim.Nsec))}, err
}

func (h hostTree) Stat(ctx context.Context, id tree.ID) (tree.Attr, error) {
	if ctx.Err() != nil {
		return tree.Attr{}, ctx.Err()
	}
	return h.stat(h.paths[id])
}

func (h hostTree) ReadDir(ctx context.Context, id tree.ID, cookie uint64, fn func(tree.Entry) bool) error {
	if a, _ := h.Stat(ctx, id); !a.IsDir() {
		return tree.ErrNotDir
	}
	entries, err := os.ReadDir(h.paths[id])
	if err != nil {
		return err
	}
	for i, e := range entries[cookie:] {
		a, err := h.stat(h.paths[id] + "/" + e.Name())
		if err != nil {
			return err
		}
		if !fn(tree.Entry{Name: []byte(e.Name()), ID: a.ID, Type: a.Type(), Cookie: cookie + uint64(i) + 1}) {
			break
		}
	}
	return nil
}

func (h hostTree) ReadAt(ctx context.Context, id tree.ID, p []byte, off int64) (int, error) {
	switch a, _ := h.Stat(ctx, id); a.Type() {
	case tree.TypeDir:
		return 0, tree.ErrIsDir
	case tree.TypeFile:
	default:
		return 0, tree.ErrNotFile
	}
	f, err := os.Open(h.paths[id])
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.ReadAt(p, off)
}

func (h hostTree) Readlink(_ context.Context, id tree.ID) ([]byte, error) {
	target, err := os.Readlink(h.paths[id])
	if errors.Is(err, unix.EINVAL) {
		err = tree.ErrNotLink
	}
	return []byte(target), err
}

func (h hostTree) Lookup(_ context.Context, dir tree.ID, name []byte) (tree.ID, error) {
	a, err := h.stat(h.paths[dir] + "/" + string(name))
	if errors.Is(err, unix.ENAMETOOLONG) {
		err = fs.ErrNotExist
	}
	return a.ID, err
}

func (h hostTree) Xattrs(_ context.Context, id tree.ID) ([]tree.Xattr, error) {
	names := make([]byte, 1<<16)
	n, err := unix.Llistxattr(h.paths[id], names)
	var list []tree.Xattr
	for name := range bytes.SplitSeq(bytes.TrimSuffix(names[:n], []byte{0}), []byte{0}) {
		value := make([]byte, 1<<16)
		if len(name) > 0 && err == nil {
			n, err = unix.Lgetxattr(h.paths[id], string(name), value)
			list = append(list, tree.Xattr{Name: string(name), Value: value[:n]})
		}
	}
	return list, err
}

func (h hostTree) Extent(_ context.Context, id tree.ID, off, n int64) (formats.Extent, error) {
	f, err := os.Open(h.paths[id])
	if err != nil {
		return formats.Extent{}, err
	}
	defer f.Close()
	data, err := f.Seek(off, unix.SEEK_DATA)
	if err != nil {
		return formats.Extent{Off: off, Len: n, State: formats.Zero}, nil
	}
	if data > off {
		return formats.Extent{Off: off, Len: min(n, data-off), State: formats.Zero}, nil
	}
	hole, err := f.Seek(off, unix.SEEK_HOLE)
	return formats.Extent{Off: off, Len: min(n, hole-off), State: formats.Data}, err
}

// pathImage makes the image of a directory.
func pathImage(t testing.TB, dir string) string {
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, []byte(dir), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSuite: the suite passes a tree that is right, on each file system of the kernel's.
func TestSuite(t *testing.T) {
	for _, test := range []struct {
		kind, program, pkg string
		options            []string
	}{
		{"ext4", "mkfs.ext4", "e2fsprogs", []string{"-q", "-b", "4096"}},
		{"xfs", "mkfs.xfs", "xfsprogs", []string{"-q"}},
		{"btrfs", "mkfs.btrfs", "btrfs-progs", []string{"-q"}},
	} {
		t.Run(test.kind, func(t *testing.T) {
			img := treetest.Image(t, 320<<20)
			treetest.Command(t, test.program, test.pkg, append(test.options, img)...)
			treetest.Write(t, img, test.kind, "", func(dir string) { treetest.Fill(t, dir, treetest.Unix()) })
			has := treetest.Unix()
			has.Kernel = true
			dir := treetest.Mount(t, img, test.kind, "")
			treetest.Run(t, treetest.Case{Driver: hostDriver{}, Image: pathImage(t, dir), Judge: dir, Has: has})
		})
	}
}

// TestFillOfLessThanUnix: a directory that Windows could have is on any file system the same.
func TestFillOfLessThanUnix(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	treetest.Fill(t, a, treetest.Windows())
	treetest.Fill(t, b, treetest.Windows())
	treetest.Run(t, treetest.Case{Driver: hostDriver{}, Image: pathImage(t, a), Judge: b, Has: treetest.Windows()})
}

// changed is a tree with one fault.
type changed struct {
	hostTree
	stat func(*tree.Attr)
	data func([]byte)
}

func (c changed) Stat(ctx context.Context, id tree.ID) (tree.Attr, error) {
	a, err := c.hostTree.Stat(ctx, id)
	if c.stat != nil {
		c.stat(&a)
	}
	return a, err
}

func (c changed) ReadAt(ctx context.Context, id tree.ID, p []byte, off int64) (int, error) {
	n, err := c.hostTree.ReadAt(ctx, id, p, off)
	if c.data != nil {
		c.data(p[:n])
	}
	return n, err
}

// TestFaultsAreSeen: one changed fact of a file is a line that differs.
func TestFaultsAreSeen(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	img := pathImage(t, dir)
	opened, _ := treetest.Case{Driver: hostDriver{}, Image: img}.Open(t)
	has := treetest.Unix()
	has.Kernel = true
	want := lines(t, opened, has)
	for name, fault := range map[string]changed{
		"mode":      {stat: func(a *tree.Attr) { a.Mode ^= 0o001 }},
		"uid":       {stat: func(a *tree.Attr) { a.UID++ }},
		"gid":       {stat: func(a *tree.Attr) { a.GID++ }},
		"links":     {stat: func(a *tree.Attr) { a.Links++ }},
		"allocated": {stat: func(a *tree.Attr) { a.Allocated += 512 }},
		"nsec":      {stat: func(a *tree.Attr) { a.Mtime.Nsec ^= 1 }},
		"ctime":     {stat: func(a *tree.Attr) { a.Ctime.Sec++ }},
		"unknown":   {stat: func(a *tree.Attr) { a.Mtime.Known = false }},
		"a byte":    {data: func(p []byte) { p[len(p)-1] ^= 1 }},
		"shorter":   {stat: func(a *tree.Attr) { a.Size -= min(a.Size, 1) }},
	} {
		fault.hostTree = opened.(hostTree)
		if treetest.Diff(lines(t, fault, has), want) == "" {
			t.Errorf("%s: the fault is not seen", name)
		}
	}
}

func lines(t *testing.T, tr tree.Tree, has treetest.Traits) []string {
	t.Helper()
	records, err := treetest.Records(t.Context(), tr, has)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, r := range records {
		list = append(list, r.Line(has))
	}
	slices.Sort(list)
	return list
}

// broken is a driver with one fault in Open.
type broken struct {
	hostDriver
	open func(ctx context.Context) error
}

func (b broken) Open(ctx context.Context, _ disk.Source, _ tree.Options) (tree.Tree, error) {
	return nil, b.open(ctx)
}

func TestTrySeesFaults(t *testing.T) {
	var kept [][]byte
	defer func() { kept = nil }()
	for name, test := range map[string]struct {
		open func(context.Context) error
		want string
	}{
		"corrupt":     {func(context.Context) error { return disk.Corrupt("x", "y", "z") }, ""},
		"unsupported": {func(context.Context) error { return disk.Unsupported("x", "y") }, ""},
		"panic":       {func(context.Context) error { panic("fell over") }, "fell over"},
		"other":       {func(context.Context) error { return io.ErrUnexpectedEOF }, "unexpected EOF"},
		"memory": {func(context.Context) error {
			kept = append(kept, make([]byte, 300<<20))
			return disk.Corrupt("x", "y", "z")
		}, "MiB of memory"},
	} {
		err := treetest.Try(t.Context(), broken{open: test.open}, empty{})
		if got := errorText(err); test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestMutate: damage to the bytes that a driver reads reaches it.
func TestMutate(t *testing.T) {
	treetest.Mutate(t, hostDriver{}, pathImage(t, t.TempDir()), 50)
}

// empty is a source without bytes.
type empty struct{}

func (empty) Size() int64                                 { return 0 }
func (empty) ReadAt(context.Context, []byte, int64) error { return io.ErrUnexpectedEOF }
