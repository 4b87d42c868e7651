package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats"
)

func TestConvertToRaw(t *testing.T) {
	dir := t.TempDir()
	src := writeDisk(t, filepath.Join(dir, "src"), 40<<20+100, extent{5000, 100_000}, extent{9 << 20, 3 << 20}, extent{40 << 20, 100})
	dst := filepath.Join(dir, "dst")
	c := newConsole()
	c.expect(t, 0, "convert", "-O", "raw", src, dst)
	if c.out.Len()+c.err.Len() > 0 {
		t.Errorf("stdout %q, stderr %q, want silence", &c.out, &c.err)
	}
	var st unix.Stat_t
	if err := unix.Stat(dst, &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != 40<<20+512 {
		t.Errorf("size = %d, want whole sectors", st.Size)
	}
	if st.Blocks*512 > 4<<20 {
		t.Errorf("%d bytes are allocated for 3.1 MiB of data", st.Blocks*512)
	}
	c.expect(t, 0, "compare", src, dst)
	if out, code := qemuImg(t, "compare", "-f", "raw", "-F", "raw", src, dst); code != 0 {
		t.Errorf("qemu-img compare: %s", out)
	}
}

func TestConvertGivesTheFileUsualPermissions(t *testing.T) {
	dir := t.TempDir()
	src := writeDisk(t, filepath.Join(dir, "src"), 4096)
	created := writeDisk(t, filepath.Join(dir, "created"), 1)
	usual, err := os.Stat(created)
	if err != nil {
		t.Fatal(err)
	}
	c := newConsole()
	dst := filepath.Join(dir, "dst")
	c.expect(t, 0, "convert", "-O", "raw", src, dst)
	if got, err := os.Stat(dst); err != nil || got.Mode() != usual.Mode() {
		t.Errorf("mode %v, %v, want %v as any new file", got.Mode(), err, usual.Mode())
	}
	if err := os.Chmod(dst, 0o640); err != nil {
		t.Fatal(err)
	}
	c.expect(t, 0, "convert", "--force", "-O", "raw", src, dst)
	if got, err := os.Stat(dst); err != nil || got.Mode() != 0o640 {
		t.Errorf("mode %v, %v, want the replaced file's", got.Mode(), err)
	}
}

func TestConvertRefusesTargets(t *testing.T) {
	dir := t.TempDir()
	src := writeDisk(t, filepath.Join(dir, "src"), 4096, extent{0, 4096})
	before, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	existing := writeDisk(t, filepath.Join(dir, "existing"), 7, extent{0, 7})
	for link, target := range map[string]string{"link-to-src": src, "dangling": filepath.Join(dir, "nowhere"), "link-to-existing": existing} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(src, filepath.Join(dir, "hard-link")); err != nil {
		t.Fatal(err)
	}
	listing := names(t, dir)
	tests := []struct{ dst, flags, says string }{
		{"existing", "", "exists (--force"},
		{"link-to-existing", "", "exists (--force"},
		{"src", "--force", "the source itself"},
		{"hard-link", "--force", "the source itself"},
		{"link-to-src", "--force", "the source itself"},
		{"dangling", "--force", "does not exist: name that file, or remove the link"},
		{"", "--force", "is a directory"},
		{"/dev/null", "--force", "convert -O raw SRC - >/dev/null"},
		{"no/such/directory", "", "no such file or directory"},
		{"src/below", "", "not a directory"},
		{strings.Repeat("n", 256), "", "file name too long"},
	}
	c := newConsole()
	for _, tt := range tests {
		t.Run(tt.dst, func(t *testing.T) {
			dst := tt.dst
			if !filepath.IsAbs(dst) {
				dst = filepath.Join(dir, dst)
			}
			c.expect(t, 1, append(strings.Fields("convert -O raw "+tt.flags), src, dst)...)
			if !strings.Contains(c.err.String(), tt.says) {
				t.Errorf("stderr %q, want %q", &c.err, tt.says)
			}
		})
	}
	if after, err := os.ReadFile(src); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the source was changed (%v)", err)
	}
	if got := names(t, dir); got != listing {
		t.Errorf("the directory holds %s, want %s", got, listing)
	}
}

func TestConvertThroughALinkReplacesItsTarget(t *testing.T) {
	dir := t.TempDir()
	src := writeDisk(t, filepath.Join(dir, "src"), 4096, extent{0, 4096})
	existing := writeDisk(t, filepath.Join(dir, "existing"), 7)
	link := filepath.Join(dir, "link")
	if err := os.Symlink("existing", link); err != nil {
		t.Fatal(err)
	}
	c := newConsole()
	c.expect(t, 0, "convert", "--force", "-O", "raw", src, link)
	c.expect(t, 0, "compare", "--strict", src, existing)
	if target, err := os.Readlink(link); err != nil || target != "existing" {
		t.Errorf("the link leads to %q, %v", target, err)
	}
}

func TestConvertThatFailsLeavesNothing(t *testing.T) {
	errBroken := errors.New("the medium is broken")
	tests := []struct {
		name   string
		onRead func(context.Context, context.CancelFunc, int64) error
		code   int
		says   string
	}{
		{"a read error", func(_ context.Context, _ context.CancelFunc, off int64) error {
			if off >= 4<<20 {
				return errBroken
			}
			return nil
		}, 1, "src: converting to "},
		{"an interrupt", func(ctx context.Context, interrupt context.CancelFunc, off int64) error {
			if off < 4<<20 {
				return nil
			}
			interrupt()
			<-ctx.Done()
			return ctx.Err()
		}, 130, "imsfs: interrupted\n"},
	}
	for _, tt := range tests {
		for _, existing := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				dir := t.TempDir()
				src := writeDisk(t, filepath.Join(dir, "src"), 8<<20, extent{0, 8 << 20})
				dst, want := filepath.Join(dir, "dst"), "src"
				if existing {
					writeDisk(t, dst, 7, extent{0, 7})
					want = "dst src"
				}
				before, _ := os.ReadFile(dst)
				ctx, interrupt := context.WithCancel(t.Context())
				defer interrupt()
				c := newConsole()
				c.formats.Fallback = &fakeDriver{onRead: func(ctx context.Context, off int64) error {
					return tt.onRead(ctx, interrupt, off)
				}}
				if code := c.run(ctx, "convert", "--force", "-O", "fake", src, dst); code != tt.code {
					t.Errorf("exit code %d, want %d", code, tt.code)
				}
				if !strings.Contains(c.err.String(), tt.says) {
					t.Errorf("stderr %q, want %q", &c.err, tt.says)
				}
				if got := names(t, dir); got != want {
					t.Errorf("the directory holds %s, want %s", got, want)
				}
				if after, _ := os.ReadFile(dst); !bytes.Equal(before, after) {
					t.Error("what was there before has changed")
				}
			})
		}
	}
}

func TestConvertDoesNotReplaceWhatAppearsMeanwhile(t *testing.T) {
	dir := t.TempDir()
	src := writeDisk(t, filepath.Join(dir, "src"), 4096, extent{0, 4096})
	dst := filepath.Join(dir, "dst")
	c := newConsole()
	c.formats.Fallback = &fakeDriver{onRead: func(context.Context, int64) error {
		return os.WriteFile(dst, []byte("precious"), 0o666)
	}}
	c.expect(t, 1, "convert", "-O", "fake", src, dst)
	if got, err := os.ReadFile(dst); err != nil || string(got) != "precious" {
		t.Errorf("dst holds %q, %v", got, err)
	}
	if got := names(t, dir); got != "dst src" {
		t.Errorf("the directory holds %s", got)
	}
}

func TestConvertPassesReproducibleOptions(t *testing.T) {
	dir := t.TempDir()
	src := writeDisk(t, filepath.Join(dir, "src"), 4096, extent{0, 4096})
	modified := time.Unix(1_234_567_890, 500)
	if err := os.Chtimes(src, modified, modified); err != nil {
		t.Fatal(err)
	}
	driver := &fakeDriver{}
	c := newConsole()
	c.formats.Fallback = driver
	created := func(args ...string) formats.CreateOptions {
		t.Helper()
		c.expect(t, 0, slices.Concat([]string{"convert", "--force", "-O", "fake", src, filepath.Join(dir, "dst")}, args)...)
		return driver.created[len(driver.created)-1]
	}
	first := created()
	if first.Timestamp != 1_234_567_890 || first.Level != 0 {
		t.Errorf("options %+v, want the source's modification time and no level", first)
	}
	if version, variant := first.UUID[6]>>4, first.UUID[8]>>6; version != 8 || variant != 2 {
		t.Errorf("UUID %x: version %d, variant %d, want 8, 2", first.UUID, version, variant)
	}
	if again := created("--threads", "1"); !reflect.DeepEqual(again, first) {
		t.Errorf("options %+v, then %+v", first, again)
	}
	if got := created("--level", "9").Level; got != 9 {
		t.Errorf("level %d, want 9", got)
	}
	c.vars["SOURCE_DATE_EPOCH"] = "86400"
	dated := created()
	if dated.Timestamp != 86400 || dated.UUID == first.UUID {
		t.Errorf("options %+v, want SOURCE_DATE_EPOCH's", dated)
	}
	for _, value := range []string{"yesterday", "-1", "1e9"} {
		c.vars["SOURCE_DATE_EPOCH"] = value
		c.expect(t, 1, "convert", "--force", "-O", "fake", src, filepath.Join(dir, "dst"))
		if !strings.Contains(c.err.String(), "SOURCE_DATE_EPOCH") {
			t.Errorf("stderr %q, want SOURCE_DATE_EPOCH named", &c.err)
		}
	}
}

func TestConvertRefusesOptionsTheFormatHasNot(t *testing.T) {
	dir := t.TempDir()
	src := writeDisk(t, filepath.Join(dir, "src"), 4096)
	c := newConsole()
	c.expect(t, 1, "convert", "-O", "raw", "--level", "3", src, filepath.Join(dir, "dst"))
	if !strings.Contains(c.err.String(), "raw disks are not compressed") || names(t, dir) != "src" {
		t.Errorf("stderr %q, directory %s", &c.err, names(t, dir))
	}
}
