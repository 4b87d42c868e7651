package chain

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/raw"
	"github.com/imsfs/imsfs/lazyload/source"
)

func TestBackingFromTheOperator(t *testing.T) {
	own, out := neighbours(t)
	top := image(t, filepath.Join(own, "top"), "backing nbd://host/x")
	for path, want := range map[string]string{out + "/next": "xxxx", own + "/sub/to-up": "bbbb"} {
		if got := content(t, open(t, top, Config{Backing: path})); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	// The rules hold again from there on, in that file's directory.
	image(t, filepath.Join(out, "up"), "backing ../own/base")
	for path, says := range map[string]string{
		out + "/up":      "layer 2",
		out + "/missing": "no such file",
		own + "/fifo":    "neither a file",
		own:              "directory",
	} {
		_, err := Open(t.Context(), top, Config{Formats: testSet(), Sources: onlyFiles(), Backing: path})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", path, err, says)
		}
	}
	for _, cfg := range []Config{{Backing: own + "/base"}, {BackingFormat: "raw"}} {
		cfg = usable(cfg)
		if _, err := Open(t.Context(), filepath.Join(own, "base"), cfg); err == nil || !strings.Contains(err.Error(), "has none") {
			t.Errorf("an image without a backing file: %v", err)
		}
	}
	// It takes the place of the image's own name only.
	image(t, filepath.Join(own, "mid"), "backing base")
	if got := content(t, open(t, top, Config{Backing: own + "/mid"})); got != "bbbb" {
		t.Errorf("%s, want bbbb", got)
	}
}

func TestBackingFormat(t *testing.T) {
	own, _ := neighbours(t)
	if err := os.WriteFile(filepath.Join(own, "plain"), []byte("pppp"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ lines, format, want, says string }{
		{"backing base\nformat script", "", "bbbb", ""},
		{"backing base", "", "bbbb", ""},
		{"backing base", "raw", "scri", ""},
		{"backing base\nformat raw", "", "scri", ""},
		{"backing plain\nformat raw", "", "pppp", ""},
		{"backing plain", "raw", "pppp", ""},
		{"backing plain", "", "", "backing format raw"},
		{"backing plain\nformat script", "", "", "the script says"},
		{"backing base\nformat luks", "", "", `unknown format "luks"`},
		{"backing base\nformat luks", "script", "bbbb", ""},
	} {
		chain, err := Open(t.Context(), image(t, filepath.Join(own, "top"), c.lines), Config{Formats: testSet(), Sources: onlyFiles(), BackingFormat: c.format})
		switch {
		case err != nil && (c.says == "" || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%q: %v, want %q", c.lines, err, c.says)
		case err == nil:
			if got := content(t, chain); got != c.want {
				t.Errorf("%q: %s, want %s", c.lines, got, c.want)
			}
			chain.Close()
		}
	}
}

func TestBackingIsTheOneThatItWas(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		parent, id string
		same       bool
	}{
		{"5f3a", "5f3a", true}, {"5F3A", "5f3a", true}, {"", "5f3a", true}, {"5f3a", "", true}, {"5f3a", "5f3b", false},
	} {
		var top, base []string
		if c.parent != "" {
			top = append(top, "parent "+c.parent)
		}
		if c.id != "" {
			base = append(base, "id "+c.id)
		}
		image(t, filepath.Join(dir, "base"), base...)
		chain, err := Open(t.Context(), image(t, filepath.Join(dir, "top"), append(top, "backing base")...), Config{Formats: testSet(), Sources: onlyFiles()})
		if err == nil {
			chain.Close()
		}
		if c.same != (err == nil) || err != nil && !errors.Is(err, source.ErrChanged) {
			t.Errorf("based on %q, found %q: %v", c.parent, c.id, err)
		}
	}
}

func TestFirstNameThatMayBeFollowedAndIsThere(t *testing.T) {
	own, _ := neighbours(t)
	top := image(t, filepath.Join(own, "top"), `backing C:\base`, "backing missing", "backing sub/base", "backing base")
	if got := content(t, open(t, top, Config{})); got != "ssss" {
		t.Errorf("%s, want that of sub/base", got)
	}
	top = image(t, filepath.Join(own, "top"), `backing C:\base`, "backing missing")
	if _, err := Open(t.Context(), top, Config{Formats: testSet(), Sources: onlyFiles()}); err == nil || !strings.Contains(err.Error(), "protocol") {
		t.Errorf("%v, want what is wrong with the first name", err)
	}
}

func TestDepthAndRings(t *testing.T) {
	dir := t.TempDir()
	image(t, filepath.Join(dir, "0"))
	for n := 1; n <= MaxDepth+1; n++ {
		image(t, filepath.Join(dir, fmt.Sprint(n)), fmt.Sprintf("backing %d", n-1))
	}
	if c := open(t, filepath.Join(dir, fmt.Sprint(MaxDepth)), Config{}); len(c.Layers()) != MaxDepth+1 {
		t.Errorf("%d layers", len(c.Layers()))
	}
	over := filepath.Join(dir, fmt.Sprint(MaxDepth+1))
	if _, err := Open(t.Context(), over, Config{Formats: testSet(), Sources: onlyFiles()}); err == nil || !strings.Contains(err.Error(), "at most 16") {
		t.Errorf("a chain that is too long: %v", err)
	}

	image(t, filepath.Join(dir, "self"), "backing self")
	image(t, filepath.Join(dir, "a"), "backing b")
	image(t, filepath.Join(dir, "b"), "backing other-a")
	if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "other-a")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"self", "a"} {
		_, err := Open(t.Context(), filepath.Join(dir, name), Config{Formats: testSet(), Sources: onlyFiles()})
		if err == nil || !strings.Contains(err.Error(), "layer 0 already: the chain is a ring") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// vhd is the format for tests under the name of one that QEMU calls vpc.
type vhd struct{ script }

func (vhd) Name() string { return "vhd" }

func TestFormatByQemusName(t *testing.T) {
	own, _ := neighbours(t)
	set := formats.Set{Drivers: []formats.Driver{vhd{}}, Fallback: raw.Driver{}}
	c := open(t, image(t, filepath.Join(own, "top"), "backing base\nformat vpc"), Config{Formats: set})
	if got := content(t, c); got != "bbbb" {
		t.Errorf("%s, want bbbb", got)
	}
}
