package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/inspect"
)

// fatDisk makes a raw image that is a FAT file system with some files.
func fatDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"etc/os-release": "ID=test\n", "etc/deep/down/file": "text\n", "empty": "", "big": strings.Repeat("x", 300_000)} {
		path := filepath.Join(dir, "in", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	image := writeDisk(t, filepath.Join(dir, "disk.img"), 32<<20)
	runTool(t, "mkfs.vfat", image)
	for _, name := range []string{"etc", "empty", "big"} {
		runTool(t, "mcopy", "-s", "-i", image, filepath.Join(dir, "in", name), "::")
	}
	return image
}

func runTool(t *testing.T, program string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("IMSFS_REQUIRE_TOOLS") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
}

func TestParsePlace(t *testing.T) {
	there := func(path string) bool { return path == "a.img" || path == "a:b.img" }
	for arg, want := range map[string]place{
		"a.img":                  {"a.img", "", "/"},
		"a.img:/etc":             {"a.img", "", "/etc"},
		"a.img:p2:/etc":          {"a.img", "p2", "/etc"},
		"a.img:p2/etc":           {"a.img", "p2", "/etc"},
		"a.img:p2":               {"a.img", "p2", "/"},
		"a.img:vg/lv:/etc":       {"a.img", "vg/lv", "/etc"},
		"a:b.img:/x:/y":          {"a:b.img", "", "/x:/y"},
		"web:/etc":               {"web", "", "/etc"},
		"web":                    {"web", "", "/"},
		"a.img:/with:colon/path": {"a.img", "", "/with:colon/path"},
	} {
		if got := parsePlace(arg, there); got != want {
			t.Errorf("%s: %+v, want %+v", arg, got, want)
		}
	}
}

func TestEscape(t *testing.T) {
	for name, want := range map[string]string{
		"plain": "plain", "日本語": "日本語", "new\nline": `new\nline`, "tab\t": `tab\t`, "\x1b[31m": `\033[31m`, "\x7f": `\177`,
		"\u0085": `\302\205`, "\u202e": `\342\200\256`, "\xff": `\377`, `back\slash`: `back\\slash`, "half\xc3": `half\303`,
	} {
		if got := escape(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

func TestInside(t *testing.T) {
	image := fatDisk(t)
	c := newConsole()
	for args, want := range map[string]string{
		"cat IMAGE:/etc/os-release":                   "ID=test\n",
		"cat IMAGE:whole:/etc/deep/down/file":         "text\n",
		"ls-files IMAGE:/etc":                         "os-release\ndeep\n",
		"find IMAGE:/ --name file":                    "/etc/deep/down/file\n",
		"find IMAGE:/ --size +1KiB --type f":          "/big\n",
		"hash IMAGE:/etc/os-release":                  "  /etc/os-release\n",
		"df IMAGE":                                    "vfat",
		"partitions IMAGE":                            "whole",
		"diff IMAGE:/ IMAGE:/":                        "",
		"find IMAGE:/etc --type d --newer 2000-01-01": "/etc/\n/etc/deep\n/etc/deep/down\n",
	} {
		c.expect(t, 0, strings.Fields(strings.ReplaceAll(args, "IMAGE", image))...)
		if got := sortLines(c.out.String()); !strings.Contains(got, sortLines(want)) {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
	c.expect(t, 1, "diff", image+":/", image+":/etc")
	if !strings.Contains(c.out.String(), "- /big") || !strings.Contains(c.out.String(), "+ /os-release") {
		t.Errorf("diff: %s", &c.out)
	}
}

func sortLines(s string) string {
	lines := strings.SplitAfter(s, "\n")
	for i := range lines {
		for j := i + 1; j < len(lines); j++ {
			if lines[j] < lines[i] {
				lines[i], lines[j] = lines[j], lines[i]
			}
		}
	}
	return strings.Join(lines, "")
}

func TestInsideExitCodes(t *testing.T) {
	image := fatDisk(t)
	dir := t.TempDir()
	luks := writeDisk(t, filepath.Join(dir, "luks"), 1<<20)
	if err := os.WriteFile(luks, append([]byte("LUKS\xba\xbe\x00\x01"), make([]byte, 1<<20)...), 0o600); err != nil {
		t.Fatal(err)
	}
	blank := writeDisk(t, filepath.Join(dir, "blank"), 1<<20)
	c := newConsole()
	c.vars[mountVariable] = dir // which is not a tree
	for _, tt := range []struct {
		code int
		args string
	}{
		{2, "cat"}, {2, "find " + image + ":/ --type q"}, {2, "hash " + image + ":/ --algorithm crc"},
		{3, "cat " + image + ":/none"}, {3, "cat " + image + ":p9:/etc"}, {3, "cat " + filepath.Join(dir, "none") + ":/x"}, {3, "ls-files " + blank + ":/"},
		{3, "cat " + image + ":/empty/x"}, {1, "cat " + image + ":/etc"}, {4, "ls-files " + luks + ":/"}, {0, "inspect " + blank}, {0, "inspect -f raw " + luks}, {4, "cat -f raw " + luks + ":/x"},
	} {
		c.expect(t, tt.code, strings.Fields(tt.args)...)
	}
}

func TestInspectJSON(t *testing.T) {
	c := newConsole()
	c.expect(t, 0, "inspect", "--json", fatDisk(t))
	var r inspect.Report
	if err := json.Unmarshal(c.out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Schema != 1 || r.Image.Format != "raw" || len(r.Slices) != 1 || len(r.Systems) != 1 || r.Systems[0].ID != "test" || r.Cost.Requests == 0 {
		t.Errorf("%s", &c.out)
	}
}

func TestCopyOut(t *testing.T) {
	image := fatDisk(t)
	dir := t.TempDir()
	c := newConsole()
	c.expect(t, 0, "cp", image+":/etc", filepath.Join(dir, "copy"))
	if p, err := os.ReadFile(filepath.Join(dir, "copy/deep/down/file")); err != nil || string(p) != "text\n" {
		t.Errorf("%q, %v", p, err)
	}
	c.expect(t, 0, "cp", image+":/big", dir)
	if p, err := os.ReadFile(filepath.Join(dir, "big")); err != nil || len(p) != 300_000 {
		t.Errorf("%d bytes, %v", len(p), err)
	}
	c.expect(t, 1, "cp", image+":/big", dir) // never replaces a file
	if !strings.Contains(c.err.String(), "file exists") {
		t.Errorf("stderr %q", &c.err)
	}
}

// TestCopyOutFollowsNoLink: a link at the destination leads nothing out of it.
func TestCopyOutFollowsNoLink(t *testing.T) {
	image := fatDisk(t)
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "etc")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "new"), filepath.Join(dir, "big")); err != nil {
		t.Fatal(err)
	}
	c := newConsole()
	c.expect(t, 1, "cp", image+":/etc", dir+"/")
	c.expect(t, 1, "cp", image+":/big", dir+"/")
	if got := names(t, outside); got != "" {
		t.Errorf("outside of the destination: %s", got)
	}
}

func TestTar(t *testing.T) {
	c := newConsole()
	c.expect(t, 0, "tar", fatDisk(t)+":/etc")
	r := tar.NewReader(bytes.NewReader(c.out.Bytes()))
	found := map[string]int64{}
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		found[h.Name] = h.Size
	}
	if len(found) != 5 || found["./deep/down/file"] != 5 || found["./os-release"] != 8 {
		t.Errorf("%v", found)
	}
}
