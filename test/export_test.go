package test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// exports are the ways to write a disk. qemu is qemu-img's name of the format, "" if it has none.
var exports = []struct {
	format, choices, qemu string
}{
	{"raw", "", "raw"},
	{"raw", "preallocation=full", "raw"},
	{"qcow2", "", "qcow2"},
	{"qcow2", "compression_type=zstd,cluster_size=128k", "qcow2"},
	{"vmdk", "", "vmdk"},
	{"vmdk", "subformat=streamOptimized", "vmdk"},
	{"vhd", "", "vpc"},
	{"vhd", "subformat=fixed", "vpc"},
	{"vhd", "align=1MiB", "vpc"},
	{"vhdx", "", "vhdx"},
	{"vdi", "", "vdi"},
	{"zvhd2", "", ""},
	{"zvhd", "", ""},
}

// TestExports: an exported file holds the disk, as qemu-img and the program compare it, and has the
// bytes that convert makes of the image file.
func TestExports(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), 9*mib+512, 31)
	source := m.as(t, "zvhd2")
	d.register(t, "web", source)
	if r := sh(t, `head -c 4M "$1" >/dev/null`, d.disk("web")); r.code != 0 { // so that the store has a part, or is saving it
		t.Fatalf("%+v", r)
	}
	for i, e := range exports {
		t.Run(strings.TrimSpace(e.format+" "+e.choices), func(t *testing.T) {
			dir := t.TempDir()
			dest, converted := filepath.Join(dir, "out"), filepath.Join(t.TempDir(), "out") // a VMDK records the name
			flags := []string{"-O", e.format}
			if e.choices != "" {
				flags = append(flags, "-o", e.choices)
			}
			if i%2 == 1 {
				flags = append(flags, "-p")
			}
			r := d.imsfs(t, slices.Concat([]string{"export", "web", dest}, flags)...)
			if r.code != 0 || r.stdout != "" || i%2 == 1 && !strings.Contains(r.stderr, "export web: done") || i%2 == 0 && r.stderr != "" {
				t.Fatalf("export: %+v", r)
			}
			mustRun(t, program, "compare", "-f", "raw", "-F", e.format, m.path, dest)
			if e.qemu != "" {
				mustRun(t, "qemu-img", "compare", "-f", "raw", "-F", e.qemu, m.path, dest)
			}
			if e.format == "qcow2" {
				mustRun(t, "qemu-img", "check", "-q", dest)
			}
			mustRun(t, program, slices.Concat([]string{"convert"}, slices.DeleteFunc(flags, func(f string) bool { return f == "-p" }), []string{source, converted})...)
			mustRun(t, "cmp", dest, converted)
			if entries, _ := os.ReadDir(dir); len(entries) != 1 {
				t.Errorf("%d files are in the directory", len(entries))
			}
		})
	}
}

// TestExportsAreRefused: the write or the job fails, and leaves nothing.
func TestExportsAreRefused(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), 9*mib, 32)
	d.register(t, "web", m.path)
	mustRun(t, "truncate", "-s", "3T", d.file("large.raw"))
	d.register(t, "large", d.file("large.raw"))
	small, fixed, out := d.file("small"), d.file("fixed"), d.file("out")
	for at, options := range map[string]string{small: "size=2m", fixed: "ro,size=1m"} {
		mustRun(t, "mkdir", at)
		mustRun(t, "mount", "-t", "tmpfs", "-o", options, "none", at)
		t.Cleanup(func() { mustRun(t, "umount", at) })
	}
	for _, c := range []struct {
		name, image, dest, flags string
		words                    []string
	}{
		{"a disk that does not fit", "web", small + "/out", "-O raw", []string{small, "the file takes", "its file system has 2097152 to spare"}},
		{"a preallocated disk that does not fit", "web", small + "/out", "-O raw -o preallocation=full", []string{"takes 9437184 bytes"}},
		{"a file system that is full in the end", "web", small + "/out", "-O raw --no-space-check", []string{small, "no space left"}},
		{"a compressed file that does not fit", "web", small + "/out", "-O qcow2 -o compression_type=zstd", []string{"no space left"}},
		{"a read-only file system", "web", fixed + "/out", "-O raw", []string{"read-only file system"}},
		{"a file of the tree", "web", d.path("out"), "-O raw", []string{"this tree itself"}},
		{"a directory", "web", small, "-O raw --force", []string{small, "not a regular file"}},
		{"a missing directory", "web", d.file("missing/out"), "-O raw", []string{"missing/out", "no such file or directory"}},
		{"a file as a directory", "web", m.path + "/out", "-O raw", []string{m.path, "not a directory"}},
		{"a long name", "web", d.file(strings.Repeat("n", 256)), "-O raw", []string{"file name too long"}},
		{"a file of the store", "web", filepath.Join(d.store, "out"), "-O raw", []string{"in the store"}},
		{"the source of an image", "web", m.path, "-O raw --force", []string{`the image "web" is read from`}},
		{"an unknown option", "web", out, "-O qcow2 -o colour=red", []string{"colour", "cluster_size"}},
		{"a format that is not written", "web", out, "-O qed", []string{"does not write it"}},
		{"a disk that is too large for the format", "large", out, "-O vhd", []string{"2040 GiB", "hold it", "qcow2"}},
		{"an unknown image", "nobody", out, "-O raw", []string{`no image "nobody"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d.imsfs(t, append([]string{"export", c.image, c.dest}, strings.Fields(c.flags)...)...).refused(t, c.words...)
		})
	}
	t.Run("no format", func(t *testing.T) { d.imsfs(t, "export", "web", out).failed(t, 2, "-O FMT") })
	t.Run("a file that exists", func(t *testing.T) { d.refused(t, "web", "export raw "+m.path, unix.EEXIST) })
	for _, dir := range []string{small, fixed} {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("%v, %v is left in %s", err, entries, dir)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a refused export left a file")
	}
}

// slowExport starts a long export, and returns its directory once some of the file is written.
func (d *daemon) slowExport(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	path := d.file("long.raw")
	mustRun(t, "dd", "if=/dev/urandom", "of="+path, "bs=1M", "count=96", "status=none")
	d.register(t, "long", path)
	if r := d.imsfs(t, "export", "long", filepath.Join(dir, "out"), "-O", "zvhd2", "--level", "19", "--no-wait"); r != (result{}) {
		t.Fatalf("export --no-wait: %+v", r)
	}
	eventually(t, func() string {
		if job := read(t, d.path("images", "long", "job")); strings.HasPrefix(job, "RUNNING 0.00") || strings.HasPrefix(job, "QUEUED") {
			return "the job is " + job
		}
		return ""
	})
	return dir
}

func TestExportIsCancelled(t *testing.T) {
	d := serve(t)
	dir := d.slowExport(t)
	wantWords(t, "job", read(t, d.path("images", "long", "job")), "RUNNING", "MiB/s export ", "s")
	if r := d.imsfs(t, "hydrate", "long"); r.code != 1 || !strings.Contains(r.stderr, "export is still running") {
		t.Errorf("hydrate beside an export: %+v", r)
	}
	if r := d.imsfs(t, "cancel", "long"); r != (result{}) {
		t.Fatalf("cancel: %+v", r)
	}
	eventually(t, func() string {
		if job := read(t, d.path("images", "long", "job")); !strings.HasPrefix(job, "CANCELLED") {
			return "the job is " + job
		}
		return ""
	})
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v is left", err, entries)
	}
}

// TestKillDuringAnExport: a kill leaves no file of that name, and the next server does not resume
// the export.
func TestKillDuringAnExport(t *testing.T) {
	d := serve(t)
	dir := d.slowExport(t)
	d.kill(t)
	if _, err := os.Stat(filepath.Join(dir, "out")); !os.IsNotExist(err) {
		t.Errorf("after the kill the name is taken: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 1 || len(entries) == 1 && !strings.HasPrefix(entries[0].Name(), ".out") {
		t.Errorf("%v, %v is left", err, entries)
	}
	must(t, unix.Unmount(d.mnt, unix.MNT_DETACH))
	again := d.place.serve(t)
	if job := read(t, again.path("images", "long", "job")); job != "" {
		t.Errorf("after the restart there is the job %q", job)
	}
	again.mustImsfs(t, "export", "long", filepath.Join(dir, "out"), "-O", "raw")
	mustRun(t, "cmp", d.file("long.raw"), filepath.Join(dir, "out"))
}
