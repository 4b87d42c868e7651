package tree_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/inspect/tree"
)

// node is a file of a tree in memory.
type node struct {
	mode    uint32
	entries []tree.Entry
	target  string
	err     error // of everything
}

type memory map[tree.ID]*node

func (m memory) Info() tree.Info { return tree.Info{Type: "memory", State: tree.Clean} }
func (m memory) Root() tree.ID   { return 1 }

func (m memory) Stat(_ context.Context, id tree.ID) (tree.Attr, error) {
	if m[id].err != nil {
		return tree.Attr{}, m[id].err
	}
	return tree.Attr{ID: id, Mode: m[id].mode}, nil
}

func (m memory) ReadDir(_ context.Context, id tree.ID, cookie uint64, fn func(tree.Entry) bool) error {
	if m[id].mode&tree.TypeMask != tree.TypeDir {
		return tree.ErrNotDir
	}
	for i, e := range m[id].entries[cookie:] {
		e.Cookie = cookie + uint64(i) + 1
		if !fn(e) {
			break
		}
	}
	return nil
}

func (m memory) ReadAt(context.Context, tree.ID, []byte, int64) (int, error) { return 0, io.EOF }

func (m memory) Readlink(_ context.Context, id tree.ID) ([]byte, error) {
	if m[id].mode&tree.TypeMask != tree.TypeLink {
		return nil, tree.ErrNotLink
	}
	return []byte(m[id].target), nil
}

// build makes a tree of paths: "a/" is a directory, "l -> t" a link, anything else a file.
func build(t *testing.T, lines ...string) memory {
	m := memory{1: {mode: tree.TypeDir}}
	for _, line := range lines {
		path, target, link := strings.Cut(line, " -> ")
		n := &node{mode: tree.TypeFile, target: target}
		if link {
			n.mode = tree.TypeLink
		} else if strings.HasSuffix(path, "/") {
			n.mode, path = tree.TypeDir, strings.TrimSuffix(path, "/")
		}
		parent, name := tree.ID(1), path
		if i := strings.LastIndex(path, "/"); i >= 0 {
			var err error
			if parent, err = tree.Resolve(t.Context(), m, 1, []byte(path[:i]), true); err != nil {
				t.Fatal(err)
			}
			name = path[i+1:]
		}
		id := tree.ID(len(m) + 1)
		m[id] = n
		m[parent].entries = append(m[parent].entries, tree.Entry{Name: []byte(name), ID: id, Type: n.mode})
	}
	return m
}

func TestResolve(t *testing.T) {
	m := build(t, "usr/", "usr/lib/", "usr/lib/os-release", "etc/", "etc/os-release -> ../usr/lib/os-release",
		"lib -> usr/lib", "abs -> /lib/os-release", "up -> ../../../..", "loop -> loop", "empty -> ",
		"ring1 -> ring2", "ring2 -> ring1", "broken -> nothing", "tofile -> usr/lib/os-release", "dirlink -> lib/",
		"usr/here -> .", "\xff\xfe")
	const osRelease = 4
	for _, test := range []struct {
		path   string
		follow bool
		want   tree.ID
		err    error
	}{
		{"", true, 1, nil},
		{"/", true, 1, nil},
		{"//usr//lib/", true, 3, nil},
		{"usr/lib/os-release", true, osRelease, nil},
		{"/etc/os-release", true, osRelease, nil},
		{"/etc/os-release", false, 6, nil},
		{"lib/os-release", false, osRelease, nil},
		{"abs", true, osRelease, nil},
		{"/../../usr/../usr/./lib", true, 3, nil},
		{"up", true, 1, nil},
		{"up/up/etc", true, 5, nil},
		{"lib/..", true, 2, nil}, // as the kernel: of the target
		{"usr/here/here/lib", true, 3, nil},
		{"dirlink", true, 3, nil},
		{"lib/", false, 3, nil},
		{"\xff\xfe", true, 18, nil},
		{"loop", true, 0, tree.ErrLoop},
		{"loop", false, 10, nil},
		{"ring1/x", true, 0, tree.ErrLoop},
		{"empty", true, 0, fs.ErrNotExist},
		{"broken", true, 0, fs.ErrNotExist},
		{"broken", false, 14, nil},
		{"nothing/..", true, 0, fs.ErrNotExist},
		{"tofile/", true, 0, tree.ErrNotDir},
		{"tofile/x", true, 0, tree.ErrNotDir},
		{"usr/lib/os-release/", true, 0, tree.ErrNotDir},
		{"usr/lib/os-release/..", true, 0, tree.ErrNotDir},
		{strings.Repeat("/", tree.MaxPath+1), true, 0, tree.ErrLimit},
		{strings.Repeat("usr/../", 500), true, 1, nil},
	} {
		got, err := tree.Resolve(t.Context(), m, 1, []byte(test.path), test.follow)
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%q, follow %v: %d, %v; want %d, %v", test.path, test.follow, got, err, test.want, test.err)
		}
	}
	if id, err := tree.Resolve(t.Context(), m, 3, []byte("../../os-release"), true); id != osRelease || err != nil {
		t.Errorf("a path out of a lower top: %d, %v", id, err)
	}
}

func TestDeepPathsAreRefused(t *testing.T) {
	m := build(t, "d/")
	m[2].entries = []tree.Entry{{Name: []byte("d"), ID: 2, Type: tree.TypeDir}} // inside itself
	path := []byte(strings.Repeat("d/", tree.MaxDepth+2))
	if _, err := tree.Resolve(t.Context(), m, 1, path, true); !errors.Is(err, tree.ErrLimit) {
		t.Errorf("a path of %d directories: %v", tree.MaxDepth+2, err)
	}
}

// walked lists what Walk finds, one line a call.
func walked(t *testing.T, m memory, at func(tree.File) error) string {
	var b strings.Builder
	err := tree.Walk(t.Context(), m, 1, func(f tree.File, err error) error {
		fmt.Fprintf(&b, "%q %o", f.Path, f.Attr.Type())
		if err != nil {
			fmt.Fprintf(&b, " %v", err)
		}
		b.WriteByte('\n')
		if at != nil {
			return at(f)
		}
		return nil
	})
	if err != nil {
		fmt.Fprintf(&b, "%v\n", err)
	}
	return b.String()
}

func TestWalk(t *testing.T) {
	m := build(t, "a/", "a/b", "a/c/", "a/c/d", "bad", "e -> a")
	m[6].err = errors.New("cannot be read")
	m[4].entries = append(m[4].entries, tree.Entry{Name: []byte("a"), ID: 2}, tree.Entry{Name: []byte("x/y"), ID: 3},
		tree.Entry{Name: []byte(".."), ID: 1})
	want := `"" 40000
"a" 40000
"a/b" 100000
"a/c" 40000
"a/c/d" 100000
"a/c/a" 40000
"a/c/a" 40000 too many levels of links
"bad" 100000 cannot be read
"e" 120000
`
	if got := walked(t, m, nil); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	skip := func(f tree.File) error {
		if string(f.Name) == "c" {
			return fs.SkipDir
		}
		if string(f.Name) == "bad" {
			return fs.SkipAll
		}
		return nil
	}
	want = "\"\" 40000\n\"a\" 40000\n\"a/b\" 100000\n\"a/c\" 40000\n\"bad\" 100000 cannot be read\n"
	if got := walked(t, m, skip); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

func TestWalkOfALargeDirectory(t *testing.T) {
	m := memory{1: {mode: tree.TypeDir}, 2: {mode: tree.TypeFile}}
	for i := range 5000 {
		m[1].entries = append(m[1].entries, tree.Entry{Name: fmt.Appendf(nil, "f%d", i), ID: 2})
	}
	seen := 0
	err := tree.Walk(t.Context(), m, 1, func(f tree.File, err error) error {
		if seen > 0 && !bytes.Equal(f.Name, fmt.Appendf(nil, "f%d", seen-1)) {
			t.Fatalf("%q came as number %d", f.Name, seen)
		}
		seen++
		return err
	})
	if seen != 5001 || err != nil {
		t.Errorf("%d files, %v", seen, err)
	}
}

func TestLookupFallsBack(t *testing.T) {
	m := build(t, "a", "b/")
	if id, err := tree.Lookup(t.Context(), m, 1, []byte("b")); id != 3 || err != nil {
		t.Errorf("b: %d, %v", id, err)
	}
	for _, name := range []string{"c", "", ".", "..", "a/b"} {
		if _, err := tree.Lookup(t.Context(), m, 1, []byte(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := tree.Lookup(t.Context(), m, 2, []byte("x")); !errors.Is(err, tree.ErrNotDir) {
		t.Errorf("in a file: %v", err)
	}
}

func TestTimeString(t *testing.T) {
	for want, tm := range map[string]tree.Time{
		"unknown":              {},
		"0.000000000":          tree.At(0, 0),
		"-1.500000000":         tree.At(-2, 5e8),
		"-0.999999999":         tree.At(-1, 1),
		"-315619200.000000000": tree.At(-315619200, 0),
		"13569465600.25000000": tree.At(13569465600, 250000000),
	} {
		if got := tm.String(); !strings.HasPrefix(got, want) {
			t.Errorf("%+v is %s, want %s", tm, got, want)
		}
	}
}
