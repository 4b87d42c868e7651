package chain

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/lazyload/source/file"
)

// Whatever a name is, what it leads to is a file of the image's own directory, as the kernel follows links.
func FuzzNames(f *testing.F) {
	dir := f.TempDir()
	for name, content := range map[string]string{
		"own/base": "b", "own/sub/base": "s", "out/secret": "x",
		"own/up->": "..", "own/to-out->": "../out/secret", "own/sub/up->": "../base", "own/sub/self->": ".", "own/to-sub->": "sub", "own/abs->": dir + "/own/sub",
	} {
		if err := makeFile(filepath.Join(dir, name), content); err != nil {
			f.Fatal(err)
		}
	}
	own := filepath.Join(dir, "own")
	if err := makeFile(filepath.Join(own, "top"), "script 4\n"); err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"base", "./sub/base", "up/own/base", "sub/self/self/up", "to-sub/../base", "abs/base", "nbd://x", "../out/secret", "up/out/secret", "\x00", own + "/base"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		s, err := OpenSource(t.Context(), filepath.Join(own, "top"), onlyFiles())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		path, err := s.Locate(t.Context(), name)
		if err != nil {
			return
		}
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			t.Fatalf("%q leads to %s, which the kernel does not find: %v", name, path, err)
		}
		if rel, err := filepath.Rel(own, real); err != nil || !filepath.IsLocal(rel) {
			t.Fatalf("%q leads to %s", name, real)
		}
		part, err := s.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		same, err := file.Open(t.Context(), own+"/"+strings.TrimPrefix(name, "/"))
		if err != nil || !same.Same(part.(*file.File)) {
			t.Fatalf("%q is another file to the kernel (%v)", name, err)
		}
		same.Close()
	})
}
