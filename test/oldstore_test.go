package test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestStoreOfAnOlderVersion opens a store that version 8254f52 wrote, after a clean stop and after a
// kill: every disk, attribute and state is as it was there, also after this version wrote to it.
func TestStoreOfAnOlderVersion(t *testing.T) {
	for _, name := range []string{"store-8254f52", "store-8254f52-killed"} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			must(t, os.Mkdir(p.store, 0o700))
			mustRun(t, "tar", "-xzSf", filepath.Join("testdata", name+".tar.gz"), "-C", p.store)
			d := p.serve(t)
			checkOldStore(t, d.place)
			t.Run("and what is written to it is kept", func(t *testing.T) {
				d.run(t, "volumes/empty", "resize 2097152")
				d.run(t, "web", "tag team ops")
				d.run(t, "db", "clone fresh")
				f, err := os.OpenFile(d.volume("fresh", "disk"), os.O_WRONLY, 0)
				must(t, err)
				_, err = f.WriteAt([]byte("written by this version"), 5000)
				must(t, err)
				must(t, f.Close())
				d.runJob(t, "volumes/fresh", "commit made")
			})
			d.runJob(t, "", "verify")
			d.stop(t)
			d = p.serve(t)
			if got := d.status(t, "volumes/empty", "size"); got != "2097152" {
				t.Errorf("the resized volume has %s bytes", got)
			}
			d.run(t, "volumes/empty", "resize 1048576 force")
			checkOldStore(t, d.place)
			if got := read(t, filepath.Join(d.files("web"), "tags", "team")); got != "ops\n" {
				t.Errorf("the tag is %q", got)
			}
			if got := readFile(t, d.disk("made")); string(got[5000:5023]) != "written by this version" {
				t.Errorf("the new image has %q", got[5000:5023])
			}
		})
	}
}

// checkOldStore compares a served store with what version 8254f52 showed of it.
func checkOldStore(t *testing.T, p place) {
	t.Helper()
	for line := range strings.Lines(string(readFile(t, "testdata/store-8254f52.sums"))) {
		var sum, disk string
		_, err := fmt.Sscan(line, &sum, &disk)
		must(t, err)
		if got := fmt.Sprintf("%x", sha256.Sum256(readFile(t, p.path(disk)))); got != sum {
			t.Errorf("%s has the checksum %s, want %s", disk, got, sum)
		}
	}
	for target, want := range map[string]map[string]string{
		"web":           {"id": "1", "state": "active", "format": "raw", "load": "full", "complete": "yes", "source": "/srv/images/web.raw"},
		"db":            {"id": "2", "format": "qcow2", "compression": "zlib", "complete": "yes", "load": "lazy"},
		"lazy":          {"id": "3", "complete": "no", "loaded": "65536", "load": "lazy"},
		"through":       {"id": "4", "load": "none"},
		"web-snap":      {"committed": "yes", "complete": "yes"},
		"db-2":          {"committed": "yes", "complete": "yes", "compression": "zlib"},
		"volumes/web-1": {"state": "active", "image": "web", "shared": "no", "size": "1048576"},
		"volumes/db-1":  {"state": "active", "image": "db-2", "shared": "yes"},
		"volumes/empty": {"state": "active", "image": "none", "size": "1048576"},
	} {
		for key, value := range want {
			if got := p.status(t, target, key); got != value {
				t.Errorf("%s: %s is %q, want %q", target, key, got, value)
			}
		}
	}
	for file, want := range map[string]string{
		"images/web/meta/description":    "the web server",
		"images/web/meta/min_ram":        "512",
		"images/through/meta/protected":  "yes",
		"images/db-2/meta/os":            "other",
		"volumes/web-1/meta/os":          "linux",
		"volumes/empty/meta/description": "nothing yet",
	} {
		if got := strings.TrimSuffix(read(t, p.path(file)), "\n"); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	p.refused(t, "through", "delete", syscall.EPERM)
}
