package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/raw"
)

// overlay is a format for tests: two lines, the backing file's name and its format, and then a sector of the disk. The
// rest of the disk, four sectors in all, is the backing file's.
type overlay struct{}

func (overlay) Name() string { return "overlay" }

func (overlay) Probe(ctx context.Context, src formats.Source) (bool, error) {
	b := make([]byte, min(src.Size(), 8))
	err := src.ReadAt(ctx, b, 0)
	return string(b) == "overlay\n", err
}

func (overlay) Open(ctx context.Context, src formats.Source, opts formats.OpenOptions) (formats.Image, error) {
	b := make([]byte, src.Size())
	if err := src.ReadAt(ctx, b, 0); err != nil {
		return nil, err
	}
	lines := strings.SplitN(string(b), "\n", 4)
	img := &overlayImage{raw.Driver{}, []byte(lines[3]), lines[1], lines[2], opts.Snapshot}
	if part, ok := strings.CutPrefix(lines[1], "part:"); ok {
		img.backing = ""
		_, err := opts.Files.Open(ctx, part)
		return img, err
	}
	return img, nil
}

// Check finds damage if a file that the image consists of is not there.
func (o overlay) Check(ctx context.Context, src formats.Source, opts formats.OpenOptions, report func(formats.Problem)) error {
	if _, err := o.Open(ctx, src, opts); err != nil {
		report(formats.Problem{Text: err.Error()})
	}
	return nil
}

type overlayImage struct {
	raw.Driver
	sector          []byte
	backing, format string
	snapshot        string
}

func (i *overlayImage) Info() formats.Info {
	info := formats.Info{Format: "overlay", Size: 2048, ClusterSize: 512, Allocated: formats.Unknown, Details: []formats.Detail{{Key: "title", Value: "a\x1b[2Jb"}}}
	if i.backing != "" {
		info.Backing = &formats.Backing{Paths: []string{i.backing}, Format: i.format}
	}
	info.Snapshots = []formats.Snapshot{{ID: "1", Name: "before\n", Time: 1_000_000_000, Size: 2048, VMState: 1 << 20}}
	return info
}

func (i *overlayImage) Extent(_ context.Context, off, n int64) (formats.Extent, error) {
	if off < 512 {
		return formats.Extent{Off: off, Len: min(n, 512-off), State: formats.Data}, nil
	}
	return formats.Extent{Off: off, Len: n}, nil
}

func (i *overlayImage) ReadAt(_ context.Context, p []byte, off int64) error {
	clear(p)
	if off < 512 {
		copy(p, i.sector[off:])
		if i.snapshot != "" {
			copy(p, i.snapshot)
		}
	}
	return nil
}

// overlays makes a directory with a raw base, an overlay on it, and one on that.
func overlays(t *testing.T) (c *console, dir string) {
	t.Helper()
	c = newConsole()
	c.formats.Drivers = []formats.Driver{overlay{}}
	dir = t.TempDir()
	writeDisk(t, filepath.Join(dir, "base.img"), 2048, extent{0, 2048})
	writeOverlay(t, filepath.Join(dir, "mid"), "base.img", "raw", "M")
	writeOverlay(t, filepath.Join(dir, "top"), "mid", "", "T")
	return c, dir
}

func writeOverlay(t *testing.T, path, backing, format, letter string) string {
	t.Helper()
	content := "overlay\n" + backing + "\n" + format + "\n" + strings.Repeat(letter, 512)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCommandsSeeTheWholeChain(t *testing.T) {
	c, dir := overlays(t)
	top, flat := filepath.Join(dir, "top"), filepath.Join(dir, "flat")
	c.expect(t, 0, "convert", "-O", "raw", top, flat)
	want, err := os.ReadFile(filepath.Join(dir, "base.img"))
	if err != nil {
		t.Fatal(err)
	}
	copy(want, strings.Repeat("T", 512))
	if got, err := os.ReadFile(flat); err != nil || string(got) != string(want) {
		t.Errorf("the disk is %q (%v)", got, err)
	}
	c.expectSame(t, top, flat)
	c.expect(t, 1, "compare", top, filepath.Join(dir, "mid"))
	c.expect(t, 0, "map", "--json", top)
	wantMap := `[{"start":0,"length":512,"depth":0,"present":true,"zero":false,"data":true,"compressed":false},
{"start":512,"length":1536,"depth":2,"present":true,"zero":false,"data":true,"compressed":false}]
`
	if c.out.String() != wantMap {
		t.Errorf("map:\n%swant:\n%s", &c.out, wantMap)
	}
	// A file that the disk is made of is not replaced by it.
	for _, name := range []string{"base.img", "mid", "top"} {
		c.expect(t, 1, "convert", "--force", "-O", "raw", top, filepath.Join(dir, name))
		if !strings.Contains(c.err.String(), "the source") {
			t.Errorf("%s: %s", name, &c.err)
		}
	}
}

func TestSnapshotFlag(t *testing.T) {
	c, dir := overlays(t)
	top, flat := filepath.Join(dir, "top"), filepath.Join(dir, "flat")
	c.expect(t, 0, "convert", "-O", "raw", "--snapshot", "before", top, flat)
	if got, err := os.ReadFile(flat); err != nil || !strings.HasPrefix(string(got), "beforeTTT") {
		t.Errorf("the disk begins with %.20q (%v)", got, err)
	}
	c.expect(t, 0, "compare", "--snapshot", "before", top, flat)
	c.expect(t, 0, "compare", "--snapshot-b", "before", flat, top)
	c.expect(t, 1, "compare", top, flat)
	c.expect(t, 1, "info", "--snapshot", "x", filepath.Join(dir, "base.img"))
	if want := `snapshot "x": the format has no internal snapshots`; !strings.Contains(c.err.String(), want) {
		t.Errorf("stderr %q, want %q", &c.err, want)
	}
}

func TestBackingFlags(t *testing.T) {
	c, dir := overlays(t)
	elsewhere := t.TempDir()
	base := writeDisk(t, filepath.Join(elsewhere, "base.img"), 2048, extent{512, 512})
	hostile := writeOverlay(t, filepath.Join(dir, "hostile"), base, "raw", "H")
	for _, command := range []string{"map", "info --backing-chain", "convert --force -O raw"} {
		args := append(strings.Fields(command), hostile)
		if strings.HasPrefix(command, "convert") {
			args = append(args, filepath.Join(dir, "out"))
		}
		c.expect(t, 1, args...)
		for _, words := range []string{hostile, "layer 1", base, "an absolute path"} {
			if !strings.Contains(c.err.String(), words) {
				t.Errorf("%s: stderr %q, want %q", command, &c.err, words)
			}
		}
		c.expect(t, 0, append(args, "--allow-backing-dir", "/usr", "--allow-backing-dir", elsewhere)...)
		c.expect(t, 0, append(args, "--backing", base)...)
	}
	c.expect(t, 2, "compare", hostile, hostile)
	c.expect(t, 0, "compare", "--allow-backing-dir", elsewhere, hostile, hostile)
	c.expect(t, 0, "compare", "--backing", base, "--backing-b", base, hostile, hostile)
	c.expect(t, 1, "compare", "--backing", base, "--backing-b", filepath.Join(dir, "base.img"), hostile, hostile)
	c.expect(t, 1, "map", "--allow-backing-dir", "", hostile)

	nameless := writeOverlay(t, filepath.Join(dir, "nameless"), "base.img", "", "N")
	c.expect(t, 1, "map", nameless)
	if !strings.Contains(c.err.String(), "backing format raw") {
		t.Errorf("stderr %q", &c.err)
	}
	c.expect(t, 0, "map", "--backing-format", "raw", nameless)
	c.expect(t, 2, "info", "--backing-format", "raw", nameless)
	c.expect(t, 0, "info", "--backing-format", "raw", "--backing-chain", nameless)
}

func TestCheckOpensTheFilesOfAnImage(t *testing.T) {
	c, dir := overlays(t)
	sound := writeOverlay(t, filepath.Join(dir, "sound"), "part:mid", "", "x")
	c.expect(t, 0, "check", sound)
	outside := writeOverlay(t, filepath.Join(dir, "outside"), "part:"+writeDisk(t, filepath.Join(t.TempDir(), "x"), 512), "", "x")
	c.expect(t, 2, "check", outside)
	if !strings.Contains(c.out.String(), "an absolute path") {
		t.Errorf("stdout %q", &c.out)
	}
	c.expect(t, 0, "check", "--allow-backing-dir", "/", outside)
	c.expect(t, 0, "check", filepath.Join(dir, "top")) // its backing file is not looked at
}

func TestInfoOfAnOverlay(t *testing.T) {
	c, dir := overlays(t)
	top := filepath.Join(dir, "top")
	c.expect(t, 0, "info", top)
	want := fmt.Sprintf(`image: %s
file format: overlay
virtual size: 2.0 KiB (2048 bytes)
disk size: 4.0 KiB (4096 bytes)
cluster size: 512 B (512 bytes)
backing file: mid (actual path: %s/mid)
snapshot list:
ID  TAG         VM SIZE  DATE                  VIRTUAL SIZE
1   "before\n"  1.0 MiB  2001-09-09T01:46:40Z  2.0 KiB
format specific information:
    title: "a\x1b[2Jb"
`, top, dir)
	if c.out.String() != want {
		t.Errorf("info:\n%swant:\n%s", &c.out, want)
	}
	c.expect(t, 0, "info", "--data", filepath.Join(dir, "mid"))
	for _, line := range []string{"data: 512 B (512 bytes)\n", "backing file format: raw\n"} {
		if !strings.Contains(c.out.String(), line) {
			t.Errorf("info --data:\n%swant the line %s", &c.out, line)
		}
	}
	c.expect(t, 0, "info", writeOverlay(t, filepath.Join(dir, "hostile"), "/etc/shadow", "raw", "H"))
	if want := "backing file: /etc/shadow (not followed: an absolute path is only followed"; !strings.Contains(c.out.String(), want) {
		t.Errorf("info:\n%swant %s", &c.out, want)
	}
	c.expect(t, 0, "info", writeOverlay(t, filepath.Join(dir, "no text"), "b\xff\u202ease", "raw", "H"))
	if want := `backing file: "b\xff\u202ease" (not followed: it has control characters or is not UTF-8)`; !strings.Contains(c.out.String(), want) {
		t.Errorf("info:\n%swant %s", &c.out, want)
	}
}

func TestInfoOfManySnapshots(t *testing.T) {
	var out strings.Builder
	facts{Info: formats.Info{Snapshots: make([]formats.Snapshot, maxListed+7)}}.describeSnapshots(&out)
	if n := strings.Count(out.String(), "\n"); n != maxListed+3 || !strings.HasSuffix(out.String(), "\n(7 more are in --json)\n") {
		t.Errorf("%d lines, the last of them %s", n, out.String()[out.Len()-80:])
	}
}

func TestInfoJSONOfAChain(t *testing.T) {
	c, dir := overlays(t)
	c.expect(t, 0, "info", "--json", "--backing-chain", filepath.Join(dir, "top"))
	var got []map[string]any
	if err := json.Unmarshal(c.out.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, &c.out)
	}
	var picked []map[string]any
	for _, layer := range got {
		pick := map[string]any{}
		for _, key := range []string{"filename", "format", "backing-filename", "full-backing-filename", "backing-filename-format", "data-size"} {
			if v, ok := layer[key]; ok {
				pick[key] = v
			}
		}
		picked = append(picked, pick)
	}
	mid, base := filepath.Join(dir, "mid"), filepath.Join(dir, "base.img")
	want := []map[string]any{
		{"filename": filepath.Join(dir, "top"), "format": "overlay", "backing-filename": "mid", "full-backing-filename": mid},
		{"filename": mid, "format": "overlay", "backing-filename": "base.img", "full-backing-filename": base, "backing-filename-format": "raw"},
		{"filename": base, "format": "raw", "data-size": 2048.0},
	}
	if !reflect.DeepEqual(picked, want) {
		t.Errorf("info --json --backing-chain:\n%v\nwant:\n%v", picked, want)
	}
	snapshot := map[string]any{"id": "1", "name": "before\n", "vm-state-size": 1048576.0, "date-sec": 1e9, "virtual-size": 2048.0}
	if want := []any{snapshot}; !reflect.DeepEqual(got[0]["snapshots"], want) {
		t.Errorf("snapshots %v, want %v", got[0]["snapshots"], want)
	}
	c.expect(t, 0, "info", "--backing-chain", filepath.Join(dir, "top"))
	if n := strings.Count(c.out.String(), "image: "); n != 3 || !strings.Contains(c.out.String(), "\n\nimage: "+mid+"\n") {
		t.Errorf("info --backing-chain of three layers:\n%s", &c.out)
	}
}
