package test

import (
	"os"
	"path/filepath"
	"testing"
)

// becomesReady waits for the index of an image.
func (p place) becomesReady(t *testing.T, image string) os.FileInfo {
	t.Helper()
	eventually(t, func() string {
		if state := p.status(t, image, "index"); state != "ready" {
			return "index " + state + ": " + p.status(t, image, "index_error")
		}
		return ""
	})
	info, err := os.Stat(p.index(t, image))
	must(t, err)
	return info
}

func (p place) index(t *testing.T, image string) string {
	t.Helper()
	return filepath.Join(p.store, "indexes", p.status(t, image, "id")+".index")
}

// TestIndexOfAZvhd: an index is made once, used after a restart, made again when it is damaged, and
// removed with its image.
func TestIndexOfAZvhd(t *testing.T) {
	p := newPlace(t)
	d := p.serve(t)
	m := makeModel(t, p.file("disk.raw"), 20*mib, 31)
	d.register(t, "web", m.as(t, "zvhd"))
	m.same(t, p.disk("web")) // ready or not
	made := p.becomesReady(t, "web")
	d.stop(t)

	d = p.serve(t)
	if again := p.becomesReady(t, "web"); !os.SameFile(made, again) || !again.ModTime().Equal(made.ModTime()) {
		t.Error("the index was made again after a restart")
	}
	p.mustImsfs(t, "evict", "web")
	m.same(t, p.disk("web"))
	path := p.index(t, "web")
	d.stop(t)

	b, err := os.ReadFile(path)
	must(t, err)
	b[len(b)-1] ^= 1
	must(t, os.WriteFile(path, b, 0o600))
	d = p.serve(t)
	p.mustImsfs(t, "evict", "web")
	m.same(t, p.disk("web"))
	p.becomesReady(t, "web")
	p.run(t, "web", "delete")
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("after delete: %v", err)
	}
	d.stop(t)
}
