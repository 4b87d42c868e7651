package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// path is that of a file in the tree.
func (p place) path(elem ...string) string { return filepath.Join(append([]string{p.mnt}, elem...)...) }

// disk is the path of an image's disk.
func (p place) disk(image string) string { return p.path("images", image, "disk") }

// file is the path of a file beside the mount point: a source, say.
func (p place) file(name string) string { return filepath.Join(p.dir, name) }

// cli runs a client's command on the tree.
func (p place) cli(t *testing.T, args ...string) result {
	t.Helper()
	return imsfs(t, append([]string{args[0], "--mount", p.mnt}, args[1:]...)...)
}

// command writes one line to a control file with one write(2); the store's if image is "".
func (p place) command(image, line string) error {
	f, err := os.OpenFile(p.ctl(image), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(line)
	return err
}

// tell is a command that must be carried out.
func (p place) tell(t *testing.T, image, line string) {
	t.Helper()
	if err := p.command(image, line); err != nil {
		t.Fatalf("%s: %v (%s)", line, err, p.lastError(t, image))
	}
}

// register makes an image of a file.
func (p place) register(t *testing.T, image, source string) {
	t.Helper()
	p.tell(t, "", "register "+image+" "+source)
}

func (p place) ctl(image string) string { return filepath.Join(p.files(image), "ctl") }

// files is the directory that has an image's control files, or the store's if image is "".
func (p place) files(image string) string {
	if image == "" {
		return p.mnt
	}
	return p.path("images", image)
}

// lastError is the sentence in an image's error file, or the store's.
func (p place) lastError(t *testing.T, image string) string {
	t.Helper()
	return strings.TrimSuffix(read(t, filepath.Join(p.files(image), "error")), "\n")
}

// status is the value of a key in an image's status, or the store's; "" if the key is not there.
func (p place) status(t *testing.T, image, key string) string {
	t.Helper()
	for line := range strings.Lines(read(t, filepath.Join(p.files(image), "status"))) {
		if k, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "); k == key {
			return value
		}
	}
	return ""
}

// images lists the names in the tree.
func (p place) images(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(p.path("images"))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
