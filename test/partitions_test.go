package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// partitionedDisk makes a disk of 64 MiB with a partition table: p1 is ext4 with one file, p2 is
// empty.
func partitionedDisk(t *testing.T, d *daemon) string {
	t.Helper()
	raw, part, files := d.file("parted.raw"), d.file("part.raw"), d.file("files")
	must(t, os.MkdirAll(filepath.Join(files, "etc"), 0o755))
	must(t, os.WriteFile(filepath.Join(files, "etc/hostname"), []byte("web\n"), 0o644))
	mustRun(t, "mkfs.ext4", "-q", "-L", "rootfs", "-d", files, part, "32M")
	mustRun(t, "truncate", "--size=64M", raw)
	mustRun(t, "dd", "status=none", "if="+part, "of="+raw, "bs=1M", "seek=1", "conv=notrunc,sparse")
	cmd := exec.Command("sfdisk", "--quiet", raw)
	cmd.Stdin = strings.NewReader("label: gpt\nsize=32M\nsize=8M\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sfdisk: %v\n%s", err, out)
	}
	return raw
}

// TestPartitionsOfAMountedTree reads partitions as files: their bytes are the disk's, what is empty
// is a hole, and a file system in them mounts without a partition table.
func TestPartitionsOfAMountedTree(t *testing.T) {
	d := serve(t)
	raw := partitionedDisk(t, d)
	d.register(t, "parted", raw)
	d.run(t, "parted", "clone guest")
	for _, of := range []string{d.path("images", "parted"), d.path("volumes", "guest")} {
		at := func(name string) string { return filepath.Join(of, "partitions", name) }
		if got := mustRun(t, "ls", at("")); got != "p1\np2\ntable" {
			t.Fatalf("%s has %q", at(""), got)
		}
		for _, script := range []string{
			`test $(stat -c %s "$1/partitions/p1") = $((32 << 20)) && test $(stat -c %s "$1/partitions/p2") = $((8 << 20))`,
			`cmp "$1/partitions/p1" <(dd if="$1/disk" bs=1M skip=1 count=32 status=none)`,
			`cmp "$1/partitions/p2" <(dd if="$1/disk" bs=1M skip=33 count=8 status=none)`,
			`grep -q "^p1 .* ext4 .* rootfs " "$1/partitions/table"`,
			`! (echo x >"$1/partitions/p1") 2>/dev/null && ! (echo x >"$1/inspect") 2>/dev/null`,
		} {
			if r := sh(t, script, of); r.code != 0 {
				t.Errorf("%s of %s: %s%s", script, of, r.stdout, r.stderr)
			}
		}
		f, err := os.Open(at("p1"))
		must(t, err)
		hole, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE)
		must(t, err)
		if hole == 0 || hole >= 32<<20 {
			t.Errorf("the first hole of %s is at %d", at("p1"), hole)
		}
		must(t, f.Close())
	}
	name, err := os.ReadFile(filepath.Join(mountLoop(t, d.path("images", "parted", "partitions", "p1")), "etc/hostname"))
	if err != nil || string(name) != "web\n" {
		t.Errorf("etc/hostname is %q, %v", name, err)
	}
}

// TestInspectOfAMountedTree reads the report, also of an image whose source is gone.
func TestInspectOfAMountedTree(t *testing.T) {
	d := serve(t)
	raw := partitionedDisk(t, d)
	d.register(t, "parted", raw)
	type report struct {
		State, Error string
		Slices       []struct {
			ID      string
			Content struct{ Type string }
		}
	}
	get := func(image string) (r report) {
		t.Helper()
		must(t, json.Unmarshal([]byte(mustRun(t, "cat", d.path("images", image, "inspect"))), &r))
		return r
	}
	if r := get("parted"); r.State != "complete" || len(r.Slices) != 2 || r.Slices[0].Content.Type != "ext4" {
		t.Errorf("the report is %+v", r)
	}
	d.register(t, "lost", makeModel(t, d.file("lost.raw"), 4*mib, 3).path)
	must(t, os.Truncate(d.file("lost.raw"), mib))
	if r := get("lost"); r.State != "failed" || r.Error == "" {
		t.Errorf("the report on a lost image is %+v", r)
	}
	if got := mustRun(t, "ls", d.path("images", "lost", "partitions")); got != "" {
		t.Errorf("a lost image has the partitions %q", got)
	}
	d.run(t, "parted", "delete")
}
