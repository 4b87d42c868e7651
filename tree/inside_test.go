package tree

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// partitionedDisk makes a file with a partition table: p1 is ext4, p2 is empty.
func partitionedDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "root/etc"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "root/etc/hostname"), []byte("web\n"), 0o644))
	path, part := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "part.raw")
	must(t, os.WriteFile(path, nil, 0o600))
	must(t, os.Truncate(path, 32<<20))
	for _, args := range [][]string{
		{"mkfs.ext4", "-q", "-L", "rootfs", "-d", filepath.Join(dir, "root"), part, "16M"},
		{"dd", "status=none", "if=" + part, "of=" + path, "bs=1M", "seek=1", "conv=notrunc,sparse"},
	} {
		tool(t, "", args...)
	}
	tool(t, "label: gpt\nsize=16M\nsize=4M\n", "sfdisk", "-q", path)
	return path
}

func tool(t *testing.T, input string, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) && os.Getenv("IMSFS_REQUIRE_TOOLS") == "" {
		t.Skipf("%v", err)
	}
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

func made(t *testing.T, root Dir, path string) string {
	t.Helper()
	return get[Text](t, root, path).Make(t.Context())
}

func TestPartitionsAreDisks(t *testing.T) {
	root, _ := newStore(t)
	path := partitionedDisk(t)
	run(t, root, "ctl", "register parted "+path)
	run(t, root, "images/parted/ctl", "clone guest")
	all, err := os.ReadFile(path)
	must(t, err)
	for _, dir := range []string{"images/parted/", "volumes/guest/"} {
		if got := strings.Join(names(get[Dir](t, root, dir+"partitions")), " "); got != "p1 p2 table" {
			t.Errorf("%s has the partitions %q", dir, got)
		}
		for name, want := range map[string][]byte{"p1": all[1<<20:][:16<<20], "p2": all[17<<20:][:4<<20]} {
			d := get[Disk](t, root, dir+"partitions/"+name)
			if got := readAll(t, d.File, 0, len(want)); got != string(want) || d.File.Size() != int64(len(want)) {
				t.Errorf("%s%s, of %d bytes, differs from its range of the disk", dir, name, d.File.Size())
			}
			if _, ok := d.File.(WritableFile); ok {
				t.Errorf("%s%s can be written to", dir, name)
			}
		}
		table := made(t, root, dir+"partitions/table")
		if lines := strings.Split(table, "\n"); !strings.Contains(lines[1], "rootfs") || strings.Join(strings.Fields(lines[1])[:3], " ") != "p1 1048576 16777216" {
			t.Errorf("the table of %s is\n%s", dir, table)
		}
	}
	if get[Disk](t, root, "volumes/guest/partitions/p1").Constant || !get[Disk](t, root, "images/parted/partitions/p1").Constant {
		t.Error("only an image's partition is constant")
	}
}

func TestPartitionsOfAVolumeAreThoseOfTheMoment(t *testing.T) {
	root, _ := newStore(t)
	run(t, root, "ctl", "register parted "+partitionedDisk(t))
	run(t, root, "images/parted/ctl", "clone guest")
	before := get[Disk](t, root, "volumes/guest/partitions/p1").Key
	w, err := get[Disk](t, root, "volumes/guest/disk").File.(WritableFile).OpenWriter(t.Context(), command.Process{PID: 1, Started: 1})
	must(t, err)
	other := filepath.Join(t.TempDir(), "other")
	must(t, os.WriteFile(other, nil, 0o600))
	must(t, os.Truncate(other, 32<<20))
	tool(t, "label: dos\nstart=4096, size=2048\n", "sfdisk", "-q", other)
	table, err := os.ReadFile(other)
	must(t, err)
	must(t, w.Zero(t.Context(), 0, 32<<20))
	_, err = w.WriteAt(t.Context(), table[:1<<20], 0)
	must(t, errors.Join(err, w.Close()))
	if got := strings.Join(names(get[Dir](t, root, "volumes/guest/partitions")), " "); got != "p1 table" {
		t.Fatalf("partitions %q", got)
	}
	if p := get[Disk](t, root, "volumes/guest/partitions/p1"); p.Key == before || p.File.Size() != 1<<20 {
		t.Errorf("the other p1 has %d bytes and the key %q", p.File.Size(), p.Key)
	}
}

func TestReportOfAnImage(t *testing.T) {
	root, _ := newStore(t)
	path := partitionedDisk(t)
	run(t, root, "ctl", "register parted "+path)
	report := func() (r struct {
		State, Error string
		Image        struct{ Name string }
		Slices       []struct {
			ID      string
			Content struct{ Type, Label string }
		}
	}) {
		text := made(t, root, "images/parted/inspect")
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		return r
	}
	r := report()
	if r.State != "complete" || r.Error != "" || r.Image.Name != "parted" || len(r.Slices) != 2 || r.Slices[0].Content.Type != "ext4" || r.Slices[0].Content.Label != "rootfs" {
		t.Errorf("the report is %+v", r)
	}
}

func TestImageWhoseDiskCannotBeOpened(t *testing.T) {
	root, _ := newStore(t)
	path := partitionedDisk(t)
	run(t, root, "ctl", "register lost "+path)
	must(t, os.Truncate(path, 1<<20))
	if got := names(get[Dir](t, root, "images/lost/partitions")); len(got) != 0 {
		t.Errorf("it has the partitions %q", got)
	}
	var r struct{ State, Error string }
	must(t, json.Unmarshal([]byte(made(t, root, "images/lost/inspect")), &r))
	if r.State != "failed" || r.Error == "" {
		t.Errorf("the report is %+v", r)
	}
}

// lookedAt is a disk in memory that counts its openings and its open handles.
type lookedAt struct {
	bytes       []byte
	opens, open int
	panics      bool
}

func (l *lookedAt) Size() int64      { return int64(len(l.bytes)) }
func (l *lookedAt) Allocated() int64 { return l.Size() }

func (l *lookedAt) Open(context.Context) (OpenDisk, error) {
	l.opens++
	l.open++
	return lookedAtOpen{l}, nil
}

type lookedAtOpen struct{ of *lookedAt }

func (l lookedAtOpen) Size() int64  { return l.of.Size() }
func (l lookedAtOpen) Close() error { l.of.open--; return nil }

func (l lookedAtOpen) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	if l.of.panics {
		panic("a bug")
	}
	return bytes.NewReader(l.of.bytes).ReadAt(p, off)
}

func (l lookedAtOpen) Extent(_ context.Context, off, n int64) (formats.Extent, error) {
	return formats.Extent{Off: off, Len: n, State: formats.Data}, nil
}

func TestPartsAreRememberedForAWhile(t *testing.T) {
	now := time.Unix(0, 0)
	in := newInsides(func() time.Time { return now })
	disk := &lookedAt{bytes: make([]byte, 1<<20)}
	want := func(id uint64, opens int) {
		t.Helper()
		if parts := in.imageParts(id, disk); len(parts) != 1 || parts[0] != (part{"whole", 0, 1 << 20}) {
			t.Fatalf("parts %v", parts)
		}
		if disk.opens != opens || disk.open != 0 {
			t.Fatalf("%d openings, want %d; %d open", disk.opens, opens, disk.open)
		}
	}
	want(1, 1)
	now = now.Add(keepParts)
	want(1, 1)
	now = now.Add(keepParts)
	want(1, 1)
	now = now.Add(keepParts + 1)
	want(1, 2)
	for n := range maxKept {
		now = now.Add(1)
		want(uint64(n+2), n+3)
	}
	want(1, maxKept+3)
	if len(in.kept) > maxKept {
		t.Errorf("%d are kept", len(in.kept))
	}
}

func TestLooksCloseTheDisk(t *testing.T) {
	disk := &lookedAt{bytes: make([]byte, 1<<20), panics: true}
	if _, err := findParts(disk); err == nil || !strings.Contains(err.Error(), "a bug") {
		t.Errorf("after a panic: %v", err)
	}
	if _, err := (logical{disk: &lookedAt{bytes: disk.bytes}, part: part{id: "vg-lv"}}).Open(t.Context()); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("a logical volume that is not there: %v", err)
	}
	if disk.open != 0 {
		t.Errorf("%d are open", disk.open)
	}
}

func TestNamesFromImages(t *testing.T) {
	for name, want := range map[string]bool{"p1": true, "vg-lv": true, "": false, "..": false, "a/b": false, "a\x00": false, strings.Repeat("n", 256): false} {
		if fileName(name) != want {
			t.Errorf("fileName(%q) = %v", name, !want)
		}
	}
	if got := cell("", "a\x1b\"\\"); got != `a\x1b"\\` {
		t.Errorf("a cell is %s", got)
	}
}

func TestSourceReadsAreWhole(t *testing.T) {
	disk, err := (&lookedAt{bytes: make([]byte, 100)}).Open(t.Context())
	must(t, err)
	for _, c := range []struct {
		off  int64
		want error
	}{{90, nil}, {91, io.ErrUnexpectedEOF}, {1000, io.ErrUnexpectedEOF}} {
		if err := (wholeReads{disk}).ReadAt(t.Context(), make([]byte, 10), c.off); !errors.Is(err, c.want) {
			t.Errorf("10 bytes at %d: %v", c.off, err)
		}
	}
}
