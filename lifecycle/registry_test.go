package lifecycle

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
)

func TestRegisterAndRestart(t *testing.T) {
	h := newHouse(t)
	img := h.register("web", "hello", "description=the web server", "os=linux", "min_ram=512")
	check := func() {
		t.Helper()
		registered := img.Registered().Format("2006-01-02T15:04:05Z")
		want := "id 1\nname web\nstate active\nformat flat\nsize 5\nallocated 5\ncluster_size 4096\ncompression none\n" +
			"source " + filepath.Join(h.sources, "web") + "\nregistered " + registered + "\nopens 0\nload lazy\ncomplete no\nloaded 0\n"
		if got := img.Status(); got != want {
			t.Errorf("status\n%swant\n%s", got, want)
		}
		meta := img.Meta()
		if len(meta) != len(attributeOptions()) || meta[0] != (Attribute{"description", "the web server"}) || meta[2] != (Attribute{"os", "linux"}) || meta[3] != (Attribute{"os_version", ""}) {
			t.Errorf("meta %q", meta)
		}
	}
	check()
	if got := img.Job(); got != "DONE 1.00 - register" {
		t.Errorf("job %q", got)
	}

	// Everything is there again, without the source.
	if err := os.Remove(filepath.Join(h.sources, "web")); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	img = h.image("web")
	check()
	if got := img.Job(); got != "" {
		t.Errorf("job after restart %q", got)
	}
	if !strings.Contains(h.log.String(), "msg=registered id=1 image=web") {
		t.Errorf("log:\n%s", h.log.String())
	}
}

func TestStoreStatus(t *testing.T) {
	h := newHouse(t)
	h.register("a", "1")
	b := h.register("b", "2")
	handle := mustOpen(t, b)
	defer handle.Close()
	want := "images 2\nqueued 0\nsaving 0\nactive 2\nkilled 0\nopens 1\ncache_limit 1048576\ncache_used 0\n"
	if got := h.Status(); !strings.HasPrefix(got, want) {
		t.Errorf("status\n%swant\n%s", got, want)
	}
	if got := value(t, b.Status(), "opens"); got != "1" {
		t.Errorf("opens %s", got)
	}
}

func TestRegisterRefuses(t *testing.T) {
	h := newHouse(t)
	good := h.source("good", "x")
	h.do(h, "register", "taken", good)
	empty := h.source("empty", "")
	text := filepath.Join(h.sources, "text")
	if err := os.WriteFile(text, []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line string
		kind error
		word string
	}{
		{"", command.ErrUsage, "empty"},
		{"frobnicate", command.ErrUsage, `unknown verb "frobnicate": known are register`},
		{"register", command.ErrUsage, "write register NAME SOURCE [KEY=VALUE ...]"},
		{"register a", command.ErrUsage, "write register"},
		{"register a " + good + " os", command.ErrUsage, `"os" is not KEY=VALUE`},
		{"register a " + good + " os=linux os=linux", command.ErrUsage, "os is given twice"},
		{"register a " + good + " colour=red", iofs.ErrInvalid, `unknown key "colour": known are format, load`},
		{"register a " + good + " os=beos", iofs.ErrInvalid, "os=beos: must be linux, windows or other"},
		{"register a " + good + " min_ram=-1", iofs.ErrInvalid, "whole number of MiB"},
		{"register a " + good + " min_ram=007", iofs.ErrInvalid, "whole number"},
		{"register a " + good + " description=" + strings.Repeat("x", maxValue+1), iofs.ErrInvalid, "has 1025 bytes (at most 1024)"},
		{"register a " + good + " format=zip", iofs.ErrInvalid, `unknown format "zip": known are flat`},
		{"register taken " + good, iofs.ErrExist, `"taken" is taken by image 1`},
		{"register a good", iofs.ErrInvalid, "relative"},
		{"register a http://host/good", errors.ErrUnsupported, `"http"`},
		{"register a s3://bucket/good", errors.ErrUnsupported, `"s3"`},
		{"register a " + h.sources + "/missing", iofs.ErrNotExist, "missing: no such file"},
		{"register a " + h.sources, syscall.EISDIR, "is a directory"},
		{"register a /dev/null", syscall.EINVAL, "neither a file nor a block device"},
		{"register a " + text, nil, text + ": unknown format"},
		{"register a " + empty, formats.ErrCorrupt, "there is  nothing behind the word"},
	} {
		err := h.Do(t.Context(), command.Call{Line: c.line})
		switch {
		case err == nil:
			t.Errorf("%.60q was accepted", c.line)
		case c.kind != nil && !errors.Is(err, c.kind), !strings.Contains(err.Error(), c.word), strings.Contains(err.Error(), "\n"):
			t.Errorf("%.60q: error %q, want %v with %q", c.line, err, c.kind, c.word)
		case h.LastError() != err.Error():
			t.Errorf("%.60q: LastError is %q, want %q", c.line, h.LastError(), err)
		}
	}
	if n := len(h.Images()); n != 1 || h.records() != 1 {
		t.Errorf("refused registrations left %d images and %d records", n-1, h.records()-1)
	}
	h.do(h, "register", "a", good)
	if got := h.LastError(); got != "" {
		t.Errorf("after a success LastError is %q", got)
	}
}

func TestRenameKeepsEverything(t *testing.T) {
	h := newHouse(t)
	img := h.register("old", "hello")
	other := h.register("other", "x")
	handle := mustOpen(t, img)
	defer handle.Close()
	for word, kind := range map[string]error{"other": iofs.ErrExist, "a/b": iofs.ErrInvalid} {
		if err := img.Do(t.Context(), command.Call{Line: command.Quote("rename", word)}); !errors.Is(err, kind) || img.LastError() != err.Error() || h.LastError() != "" {
			t.Errorf("rename %s = %v (LastError %q), want %v", word, err, img.LastError(), kind)
		}
	}
	h.do(img, "rename", "old")
	h.do(img, "rename", "new name")
	for range 2 {
		if _, err := h.Image("old"); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("the old name: %v", err)
		}
		got := h.image("new name")
		if got.ID() != img.ID() || got.Name() != "new name" || got.record().State != catalog.Active {
			t.Errorf("renamed image is\n%s", got.Status())
		}
		if handle != nil {
			if got := content(t, handle); got != "hello" {
				t.Errorf("handle reads %q", got)
			}
			handle.Close()
			handle = nil
		}
		h.reopen()
	}
	if got := h.image("other").ID(); got != other.ID() {
		t.Errorf("other has ID %d", got)
	}
}

func TestSet(t *testing.T) {
	h := newHouse(t)
	img := h.register("a", "x")
	h.do(img, "set", "description", `say "hi"`)
	h.do(img, "set", "arch", "aarch64")
	h.do(img, "set", "arch", "")
	for _, line := range []string{"set nope x", "set os beos", "set protected maybe", "set os", "set os linux now"} {
		if err := img.Do(t.Context(), command.Call{Line: line}); !errors.Is(err, iofs.ErrInvalid) {
			t.Errorf("%s = %v", line, err)
		}
	}
	h.reopen()
	var said []Attribute
	for _, a := range h.image("a").Meta() {
		if a.Value != "" {
			said = append(said, a)
		}
	}
	if want := []Attribute{{"description", `say "hi"`}}; !slices.Equal(said, want) {
		t.Errorf("attributes %q, want %q", said, want)
	}
}

func TestDelete(t *testing.T) {
	h := newHouse(t)
	img := h.register("a", "x", "protected=yes")
	if err := img.Do(t.Context(), command.Call{Line: "delete"}); !errors.Is(err, iofs.ErrPermission) || !strings.Contains(err.Error(), `("set protected no" first)`) {
		t.Errorf("delete of a protected image = %v", err)
	}
	h.do(img, "set", "protected", "no")
	h.do(img, "delete")
	if len(h.Images()) != 0 || h.records() != 0 || img.record().State != catalog.Deleted || img.Verbs() != "" {
		t.Errorf("after delete: %d images, %d records, state %s, verbs %q", len(h.Images()), h.records(), img.record().State, img.Verbs())
	}
	if err := img.Do(t.Context(), command.Call{Line: "delete"}); !errors.Is(err, iofs.ErrClosed) {
		t.Errorf("delete of a deleted image = %v", err)
	}
	if _, err := img.Open(t.Context()); !errors.Is(err, iofs.ErrClosed) {
		t.Errorf("Open of a deleted image = %v", err)
	}
	if _, err := os.Stat(filepath.Join(h.sources, "a")); err != nil {
		t.Errorf("the source: %v", err)
	}
}

func TestIDsAreNeverReused(t *testing.T) {
	h := newHouse(t)
	used := map[uint64]bool{}
	for range 3 {
		for range 3 {
			img := h.register("a", "x")
			if img.ID() == 0 || used[img.ID()] {
				t.Errorf("ID %d after %v", img.ID(), used)
			}
			used[img.ID()] = true
			h.do(img, "delete")
		}
		h.reopen()
	}
}

func TestVerbsTellWhatMayBeUsed(t *testing.T) {
	h := newHouse(t)
	if got, want := h.Verbs(), "register NAME SOURCE [KEY=VALUE ...]  # "; !strings.HasPrefix(got, want) {
		t.Errorf("verbs of the store %q", got)
	}
	img := h.register("a", "x")
	var names []string
	for line := range strings.Lines(img.Verbs()) {
		names = append(names, strings.Fields(line)[0])
	}
	if want := []string{"delete", "rename", "set", "tag", "untag", "clone", "prefetch", "hydrate", "evict", "verify", "refresh", "export", "cancel"}; !slices.Equal(names, want) {
		t.Errorf("verbs %q, want %q", names, want)
	}
}

func BenchmarkRegister(b *testing.B) {
	h := newHouse(b)
	path := h.source("x", "hello")
	for i := 0; b.Loop(); i++ {
		h.do(h, "register", strconv.Itoa(i), path)
	}
}

func BenchmarkOpen(b *testing.B) {
	h := newHouse(b)
	path := h.source("x", "hello")
	for i := range 1000 {
		h.do(h, "register", strconv.Itoa(i), path, "description=one of a thousand")
	}
	for b.Loop() {
		h.reopen()
		if n := len(h.Images()); n != 1000 {
			b.Fatalf("%d images", n)
		}
	}
}
