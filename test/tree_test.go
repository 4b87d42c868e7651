package test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A target is the object that a control file belongs to: "" is the store, "NAME" an image and
// "volumes/NAME" a volume.

// path returns the path of a file in the tree.
func (p place) path(elem ...string) string {
	return filepath.Join(append([]string{p.mnt}, elem...)...)
}

// disk returns the path of an image's disk.
func (p place) disk(image string) string { return p.path("images", image, "disk") }

// file returns the path of a file beside the mount point, for example of a source.
func (p place) file(name string) string { return filepath.Join(p.dir, name) }

// imsfs runs a client's command on the tree.
func (p place) imsfs(t *testing.T, args ...string) result {
	t.Helper()
	return imsfs(t, append(args, "--mount", p.mnt)...)
}

// mustImsfs runs a client's command that must succeed on the tree, and returns its output.
func (p place) mustImsfs(t *testing.T, args ...string) string {
	t.Helper()
	r := p.imsfs(t, args...)
	if r.code != 0 {
		t.Fatalf("imsfs %s: %+v", strings.Join(args, " "), r)
	}
	return strings.TrimSuffix(r.stdout, "\n")
}

// command writes one line to a target's control file with one write(2), and returns its error.
func (p place) command(target, line string) error {
	f, err := os.OpenFile(p.ctl(target), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(line)
	return err
}

// run gives a target a command that must succeed.
func (p place) run(t *testing.T, target, line string) {
	t.Helper()
	if err := p.command(target, line); err != nil {
		t.Fatalf("%s: %v (%s)", line, err, p.lastError(t, target))
	}
}

// refused gives a target a command that must fail with an errno.
func (p place) refused(t *testing.T, target, line string, errno error) {
	t.Helper()
	if err := p.command(target, line); !errors.Is(err, errno) {
		t.Errorf("%s: %v, want %v", line, err, errno)
	}
}

// runJob gives a target a command that starts a job, and waits until the job is done.
func (p place) runJob(t *testing.T, target, line string) {
	t.Helper()
	p.run(t, target, line)
	p.awaitJob(t, target)
}

// awaitJob waits until the job of a target is done. A job that fails ends the test.
func (p place) awaitJob(t *testing.T, target string) {
	t.Helper()
	eventually(t, func() string {
		job := read(t, filepath.Join(p.files(target), "job"))
		if strings.HasPrefix(job, "FAILED") {
			t.Fatal(job)
		}
		if !strings.HasPrefix(job, "DONE") {
			return job
		}
		return ""
	})
}

// register makes an image of a file.
func (p place) register(t *testing.T, image, source string) {
	t.Helper()
	p.run(t, "", "register "+image+" "+source)
}

// ctl returns the path of a target's control file.
func (p place) ctl(target string) string { return filepath.Join(p.files(target), "ctl") }

// files returns the directory with a target's files.
func (p place) files(target string) string {
	switch {
	case target == "":
		return p.mnt
	case strings.HasPrefix(target, "volumes/"):
		return p.path(target)
	}
	return p.path("images", target)
}

// lastError returns the sentence in a target's error file.
func (p place) lastError(t *testing.T, target string) string {
	t.Helper()
	return strings.TrimSuffix(read(t, filepath.Join(p.files(target), "error")), "\n")
}

// status returns the value of a key in a target's status, or "" if the key is missing.
func (p place) status(t *testing.T, target, key string) string {
	t.Helper()
	for line := range strings.Lines(read(t, filepath.Join(p.files(target), "status"))) {
		if k, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "); k == key {
			return value
		}
	}
	return ""
}

// images lists the names of the images in the tree.
func (p place) images(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(p.path("images"))
	must(t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// read returns the text in a file.
func read(t *testing.T, path string) string {
	t.Helper()
	return string(readFile(t, path))
}
