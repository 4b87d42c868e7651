package test

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fullOfZeros makes a raw disk without holes: zeros that take space, and words in the given blocks
// of 2 MiB.
func fullOfZeros(t *testing.T, path string, size int64, blocks ...int64) model {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	zeros := make([]byte, mib)
	for off := int64(0); off < size; off += mib {
		if _, err := f.WriteAt(zeros[:min(mib, size-off)], off); err != nil {
			t.Fatal(err)
		}
	}
	for _, block := range blocks {
		if _, err := f.WriteAt([]byte("here is something"), min(block*2*mib+1900*kib, size-17)); err != nil {
			t.Fatal(err)
		}
	}
	return model{path, size}
}

// TestMappedDiskIsLazy: of a disk without holes only the map's data is loaded; without the map all
// of it.
func TestMappedDiskIsLazy(t *testing.T) {
	const size = 64*mib + 512
	d := serve(t)
	m := fullOfZeros(t, d.file("disk.raw"), size, 3, 17, 32)
	if n := d.loads(t, "without", m); n < size/mib {
		t.Errorf("without a map %d units were loaded, and the disk has %d MiB", n, size/mib)
	}
	r := imsfs(t, "mkmap", m.path)
	if want := fmt.Sprintf("%s.map: data in %d of %d bytes\n", m.path, 4*mib+512, size); r != (result{stdout: want}) {
		t.Fatalf("mkmap: %+v, want %q", r, want)
	}
	d.loads(t, "with", m)
	if got := d.status(t, "with", "map"); got != m.path+".map" {
		t.Errorf("map %q", got)
	}
	if got, _ := strconv.Atoi(d.status(t, "with", "allocated")); got != 4*mib+512 {
		t.Errorf("allocated %d", got)
	}
	var extents []struct {
		Start, Length int64
		Data          bool
	}
	must(t, json.Unmarshal([]byte(mustRun(t, program, "map", "--json", m.path)), &extents))
	if len(extents) != 6 || extents[1].Start != 6*mib || extents[1].Length != 2*mib || !extents[1].Data || !extents[5].Data {
		t.Errorf("map lists %v", extents)
	}
	d.imsfs(t, "export", "with", d.file("out.raw"), "-O", "raw").failed(t, 0)
	mustRun(t, "cmp", m.path, d.file("out.raw"))
	imsfs(t, "mkmap", m.path).refused(t, "exists (--force")
	imsfs(t, "mkmap", "--force", "-p", m.path).failed(t, 0, "mkmap: 100 %")
}

// loads registers a disk, reads all of it, and returns the number of units that were loaded.
func (d *daemon) loads(t *testing.T, image string, m model) int {
	t.Helper()
	count := func() int {
		n, err := strconv.Atoi(d.status(t, "", "cache_loads"))
		must(t, err)
		return n
	}
	before := count()
	d.register(t, image, m.path)
	m.same(t, d.disk(image))
	n := count() - before
	if image == "with" && n > 3*2*mib/(64*kib) {
		t.Errorf("with a map %d units were loaded, and three blocks have data", n)
	}
	return n
}

// TestMapsThatAreNotUsed: a map that does not fit or is damaged is reported in status, and only
// makes the disk less lazy.
func TestMapsThatAreNotUsed(t *testing.T) {
	d := serve(t)
	n := 0
	for name, c := range map[string]struct {
		spoil func(t *testing.T, m model)
		says  string
	}{
		"written to": {func(t *testing.T, m model) {
			mustRun(t, "dd", "if=/dev/urandom", "of="+m.path, "bs=4k", "count=1", "seek=1000", "conv=notrunc", "status=none")
		}, "the file was written to since"},
		"grown": {func(t *testing.T, m model) { mustRun(t, "truncate", "-s", "+512", m.path) }, "made of a file of"},
		"damaged": {func(t *testing.T, m model) {
			mustRun(t, "dd", "if=/dev/zero", "of="+m.path+".map", "bs=1", "count=1", "seek=32", "conv=notrunc", "status=none")
		}, "SHA-256"},
		"cut":            {func(t *testing.T, m model) { mustRun(t, "truncate", "-s", "-1", m.path+".map") }, "64 bytes"},
		"something else": {func(t *testing.T, m model) { mustRun(t, "cp", "/proc/self/status", m.path+".map") }, "rawmap"},
		"older": {func(t *testing.T, m model) {
			must(t, os.Chtimes(m.path+".map", time.Unix(1, 0), time.Unix(1, 0)))
		}, "older than the file"},
		"a directory": {func(t *testing.T, m model) { mustRun(t, "rm", m.path+".map"); mustRun(t, "mkdir", m.path+".map") }, "is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			n++
			image := fmt.Sprintf("image%d", n)
			m := fullOfZeros(t, d.file(image), 6*mib, 1)
			mustRun(t, program, "mkmap", m.path)
			c.spoil(t, m)
			d.register(t, image, m.path)
			wantWords(t, "map", d.status(t, image, "map"), m.path+".map is not used", c.says)
			m.same(t, d.disk(image))
			d.log.await(t, "msg=registered", "map=", m.path+".map is not used")
		})
	}
}

// TestMapRefuses: mkmap refuses files that can have no map.
func TestMapRefuses(t *testing.T) {
	m := makeModel(t, t.TempDir()+"/disk.raw", 3*mib, 40)
	imsfs(t, "mkmap", m.as(t, "qcow2")).refused(t, "is qcow2", "-f raw")
	imsfs(t, "mkmap", t.TempDir()).refused(t, "not a regular file")
	imsfs(t, "mkmap", m.path+".missing").refused(t, "no such file")
	if r := imsfs(t, "mkmap", m.path); r.code != 0 || !strings.HasPrefix(r.stdout, m.path+".map: data in ") {
		t.Errorf("mkmap: %+v", r)
	}
	if os.Chmod(m.path+".map", 0o400) != nil {
		t.Error("there is no map")
	}
}
