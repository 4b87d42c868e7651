package tree

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/raw"
	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/lazyload/source"
	"github.com/imsfs/imsfs/lazyload/source/file"
	"github.com/imsfs/imsfs/lifecycle"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// newStore opens a store with the image "web", of one MiB, and the volume "data" cloned from it.
func newStore(t *testing.T) (Dir, *lifecycle.Registry) {
	t.Helper()
	db, err := kv.Open(filepath.Join(t.TempDir(), "store"), kv.Options{})
	must(t, err)
	loader := lazyload.New(lazyload.Config{})
	reg, err := lifecycle.Open(t.Context(), db, lifecycle.Config{
		Sources: source.Opener{Kinds: []source.Kind{file.Kind{}}},
		Formats: formats.Set{Fallback: raw.Driver{}},
		Loader:  loader,
		Volumes: t.TempDir(),
	})
	must(t, err)
	t.Cleanup(func() {
		if err := errors.Join(reg.Close(), loader.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	source := filepath.Join(t.TempDir(), "web.raw")
	must(t, os.WriteFile(source, slices.Repeat([]byte("web disk"), 128<<10), 0o600))
	root := Of(reg, time.Now)
	run(t, root, "ctl", "register web "+source)
	run(t, root, "images/web/ctl", "clone data")
	return root, reg
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// find walks a path.
func find(root Dir, path string) (Node, error) {
	var at Node = root
	for name := range strings.SplitSeq(path, "/") {
		d, ok := at.(Dir)
		if !ok {
			return nil, iofs.ErrInvalid
		}
		if at, ok = d.Find(name); !ok {
			return nil, iofs.ErrNotExist
		}
	}
	return at, nil
}

func get[T Node](t *testing.T, root Dir, path string) T {
	t.Helper()
	n, err := find(root, path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	node, ok := n.(T)
	if !ok {
		t.Fatalf("%s is a %T", path, n)
	}
	return node
}

func run(t *testing.T, root Dir, ctl, line string) {
	t.Helper()
	c := get[Control](t, root, ctl)
	if err := c.Commander.Do(t.Context(), command.Call{Line: line}); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
}

func content(t *testing.T, root Dir, path string) string {
	t.Helper()
	return get[Text](t, root, path).Content(command.Actor{})
}

func names(d Dir) []string {
	var list []string
	for _, e := range d.List() {
		list = append(list, e.Name)
	}
	return list
}

// walk calls visit for each node below a directory.
func walk(d Dir, path string, visit func(path string, e Entry, found Node, ok bool)) {
	for _, e := range d.List() {
		n, ok := d.Find(e.Name)
		visit(path+e.Name, e, n, ok)
		if sub, isDir := n.(Dir); isDir {
			walk(sub, path+e.Name+"/", visit)
		}
	}
}

func TestListingAndFindingAgree(t *testing.T) {
	root, _ := newStore(t)
	paths := map[Key]string{}
	walk(root, "", func(path string, e Entry, n Node, ok bool) {
		switch {
		case !ok:
			t.Errorf("%s is listed and cannot be found", path)
		case n.Kind() != e.Kind || n.Identity().Key != e.Key:
			t.Errorf("%s is listed as %v and found as %v, %v", path, e, n.Kind(), n.Identity())
		case paths[e.Key] != "":
			t.Errorf("%s and %s have the same key %q", path, paths[e.Key], e.Key)
		case n.Identity().Time.IsZero():
			t.Errorf("%s has no time", path)
		}
		paths[e.Key] = path
	})
	if len(paths) < 30 {
		t.Errorf("only %d nodes: %q", len(paths), slices.Sorted(maps.Values(paths)))
	}
	for _, path := range []string{"nothing", "images/nothing", "images/web/nothing", "images/web/meta/nothing", "volumes/web"} {
		if n, err := find(root, path); err == nil {
			t.Errorf("%s is a %T", path, n)
		}
	}
}

func TestNamesOfTheStore(t *testing.T) {
	root, _ := newStore(t)
	for path, want := range map[string]string{
		"":             "README ctl error images job status volumes",
		"images":       "web",
		"images/web":   "ctl digest disk error inspect job meta partitions status tags",
		"volumes":      "data",
		"volumes/data": "ctl disk error job meta partitions status",
	} {
		d := root
		if path != "" {
			d = get[Dir](t, root, path)
		}
		if got := strings.Join(names(d), " "); got != want {
			t.Errorf("%q has %s, want %s", path, got, want)
		}
	}
}

func TestKeyStandsForTheThing(t *testing.T) {
	root, _ := newStore(t)
	key := func(path string) Key {
		n, err := find(root, path)
		must(t, err)
		return n.Identity().Key
	}
	before := key("images/web/disk")
	run(t, root, "images/web/ctl", "rename other")
	if got := key("images/other/disk"); got != before {
		t.Errorf("a renamed image's disk has the key %q, and had %q", got, before)
	}
	source := strings.Fields(strings.SplitAfter(content(t, root, "images/other/status"), "\nsource ")[1])[0]
	run(t, root, "ctl", "register web "+source)
	if got := key("images/web/disk"); got == before {
		t.Errorf("another image of the old name has its key %q", got)
	}
}

func TestDirectoryOfADeletedImageIsEmpty(t *testing.T) {
	root, _ := newStore(t)
	for _, c := range []struct{ dir, ctl string }{{"volumes/data", "volumes/data/ctl"}, {"images/web", "images/web/ctl"}} {
		d := get[Dir](t, root, c.dir)
		run(t, root, c.ctl, "delete")
		if list := d.List(); len(list) != 0 {
			t.Errorf("%s has %v after its end", c.dir, list)
		}
		if n, ok := d.Find("status"); ok {
			t.Errorf("%s still has a %T", c.dir, n)
		}
	}
}

func TestTextsFollowTheStore(t *testing.T) {
	root, _ := newStore(t)
	os := get[Text](t, root, "images/web/meta/os")
	run(t, root, "images/web/ctl", "set os linux")
	if got := os.Content(command.Actor{}); got != "linux\n" {
		t.Errorf("meta/os is %q", got)
	}
	if got := content(t, root, "images/web/job"); got != "" && !strings.HasSuffix(got, "\n") {
		t.Errorf("job is %q", got)
	}
	if got := content(t, root, "README"); !strings.HasPrefix(got, "This is a tree") {
		t.Errorf("README is %q", got)
	}
	if got := content(t, root, "volumes/data/status"); !strings.Contains(got, "name data\n") {
		t.Errorf("status is %q", got)
	}
	c := get[Control](t, root, "images/web/ctl")
	if err := c.Commander.Do(t.Context(), command.Call{Line: "frob"}); !errors.Is(err, iofs.ErrInvalid) {
		t.Errorf("an unknown verb: %v", err)
	}
	if got := content(t, root, "images/web/error"); !strings.Contains(got, "frob") {
		t.Errorf("error is %q", got)
	}
}

func TestDisks(t *testing.T) {
	root, _ := newStore(t)
	image, volume := get[Disk](t, root, "images/web/disk"), get[Disk](t, root, "volumes/data/disk")
	if _, ok := image.File.(WritableFile); ok || !image.Constant {
		t.Error("the disk of an image can be written to, or changes")
	}
	file, ok := volume.File.(WritableFile)
	if !ok || volume.Constant {
		t.Error("the disk of a volume cannot be written to, or is constant")
	}
	one, two := command.Process{PID: 1, Started: 1}, command.Process{PID: 1, Started: 2}
	w, err := file.OpenWriter(t.Context(), one)
	must(t, err)
	again, err := file.OpenWriter(t.Context(), one)
	must(t, err)
	for _, by := range []command.Process{two, {}} {
		if _, err := file.OpenWriter(t.Context(), by); !errors.Is(err, command.ErrBusy) {
			t.Errorf("a second process %v that writes: %v", by, err)
		}
	}
	_, err = w.WriteAt(t.Context(), []byte("VOLUME"), 8)
	must(t, err)
	must(t, again.Close())
	must(t, w.Close())
	other, err := file.OpenWriter(t.Context(), two)
	must(t, err)
	must(t, other.Close())
	for disk, want := range map[DiskFile]string{image.File: "web diskweb disk", volume.File: "web diskVOLUMEsk"} {
		if got := readAll(t, disk, 0, 16); got != want {
			t.Errorf("%T reads %q, want %q", disk, got, want)
		}
	}
}

func readAll(t *testing.T, f DiskFile, off int64, n int) string {
	t.Helper()
	d, err := f.Open(context.Background())
	must(t, err)
	defer d.Close()
	p := make([]byte, n)
	got, err := d.ReadAt(t.Context(), p, off)
	if got < n && err == nil {
		t.Errorf("a short read without an error")
	}
	return string(p[:got])
}

func TestSingle(t *testing.T) {
	root, _ := newStore(t)
	image := get[Disk](t, root, "images/web/disk")
	single := Single(image.File, "web.raw", "format raw\n", time.Now())
	if got := strings.Join(names(single), " "); got != "disk status" {
		t.Errorf("it has %s", got)
	}
	if got := content(t, single, "status"); got != "format raw\n" {
		t.Errorf("status is %q", got)
	}
	if d := get[Disk](t, single, "disk"); d.File.Size() != 1<<20 || d.Name != "web.raw" {
		t.Errorf("the disk is %v", d)
	}
}

func TestTags(t *testing.T) {
	root, _ := newStore(t)
	dir := get[Dir](t, root, "images/web/tags")
	by := command.Actor{}
	write := func(key, value string) error {
		tag, err := dir.Edit.Create(t.Context(), by, key)
		if err != nil {
			return err
		}
		return tag.Set(t.Context(), by, value)
	}
	t.Run("are texts that are created, written and removed", func(t *testing.T) {
		if err := errors.Join(write("team", "ops"), write("stage", "")); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(names(dir), " "); got != "stage team" {
			t.Errorf("tags %q", got)
		}
		if got := get[Text](t, root, "images/web/tags/team").Content(by); got != "ops\n" {
			t.Errorf("team is %q", got)
		}
		if err := errors.Join(write("team", "dev"), dir.Edit.Remove(t.Context(), by, "stage")); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(names(dir), " "); got != "team" || get[Text](t, root, "images/web/tags/team").Content(by) != "dev\n" {
			t.Errorf("tags %q", got)
		}
		if err := dir.Edit.Remove(t.Context(), by, "stage"); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("removing it again: %v", err)
		}
	})
	t.Run("that are out of their limits are refused", func(t *testing.T) {
		for key, value := range map[string]string{
			strings.Repeat("k", 37): "", "a b": "", "ä": "", "a.b": "", "long": strings.Repeat("v", 44), "slash": "a/b",
		} {
			if err := write(key, value); !errors.Is(err, iofs.ErrInvalid) {
				t.Errorf("tag %q=%q: %v", key, value, err)
			}
		}
	})
	t.Run("are ten at most", func(t *testing.T) {
		for n := range 9 {
			if err := write(fmt.Sprint("k", n), strings.Repeat("v", 43)); err != nil {
				t.Fatal(err)
			}
		}
		if err := write("eleventh", "x"); !errors.Is(err, iofs.ErrInvalid) || !strings.Contains(err.Error(), "at most 10") {
			t.Errorf("the eleventh: %v", err)
		}
		if err := write("k0", "changed"); err != nil {
			t.Errorf("changing one of ten: %v", err)
		}
	})
}
