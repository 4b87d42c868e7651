package test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// TestSameNames: a name that an image and a volume have means the image, and volumes/NAME the
// volume.
func TestSameNames(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), mib, 61)
	d.register(t, "both", m.path)
	d.run(t, "both", "clone both")
	d.run(t, "both", "clone alone")
	for _, c := range []struct{ name, at string }{
		{"both", d.path("images", "both")}, {"images/both", d.path("images", "both")},
		{"volumes/both", d.volume("both", "")}, {"alone", d.volume("alone", "")}, {"volumes/alone", d.volume("alone", "")},
	} {
		d.mustImsfs(t, "set", c.name, "description", "by "+c.name)
		if got := read(t, filepath.Join(c.at, "meta", "description")); got != "by "+c.name+"\n" {
			t.Errorf("set %s: %s has %q", c.name, c.at, got)
		}
	}
	d.mustImsfs(t, "mv", "volumes/both", "other")
	d.mustImsfs(t, "rm", "volumes/other")
	read(t, d.path("images", "both", "status")) // still there
	d.imsfs(t, "rm", "volumes/both").refused(t, `there is no volume "both"`)
}

// TestSnapshotCommand: the image has the volume's bytes, and a revert goes back to the state before
// it.
func TestSnapshotCommand(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), mib, 62)
	d.register(t, "web", m.path)
	d.run(t, "web", "clone one")
	was := readFile(t, m.path)
	now := bytes.Clone(was)
	copy(now[5000:], "written")
	must(t, os.WriteFile(d.file("now"), now, 0o600))
	f, err := os.OpenFile(d.volume("one", "disk"), os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("written"), 5000)
	must(t, err)
	d.imsfs(t, "snapshot", "one", "early", "--quiesce").refused(t, "open for writing")
	d.mustImsfs(t, "snapshot", "one", "early", "os=linux")
	must(t, f.Close())
	mustRun(t, "cmp", d.file("now"), d.disk("early"))
	if got := read(t, d.path("images", "early", "meta", "os")); got != "linux\n" {
		t.Errorf("os %q", got)
	}
	d.imsfs(t, "snapshot", "one", "early").refused(t, "early", "taken")
	sameContent(t, d.place, "one", now)
	d.mustImsfs(t, "revert", "one")
	sameContent(t, d.place, "one", was)
}

// TestSalvageCommand: a damaged volume is exported only with --salvage, and unreadable ranges are
// zeros.
func TestSalvageCommand(t *testing.T) {
	const page = 63 * mib // docs/overlay.md
	d := serve(t)
	d.run(t, "", "create one size="+strconv.Itoa(2*page))
	f, err := os.OpenFile(d.volume("one", "disk"), os.O_RDWR, 0)
	must(t, err)
	for i := range int64(2) {
		_, err = f.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(i+7)), i*page)
		must(t, err)
	}
	must(t, f.Close())
	d.stop(t)
	bitmaps, err := filepath.Glob(filepath.Join(d.store, "volumes", "*.bitmap"))
	if must(t, err); len(bitmaps) != 1 {
		t.Fatalf("bitmaps %q", bitmaps)
	}
	b, err := os.OpenFile(bitmaps[0], os.O_RDWR, 0)
	must(t, err)
	for slot := range int64(2) { // of the second page
		_, err := b.WriteAt([]byte("damage"), 8192+8192+slot*4096+100)
		must(t, err)
	}
	must(t, b.Close())
	d = d.place.serve(t)
	d.log.expect("a volume is damaged")
	out := d.file("out")
	d.imsfs(t, "export", "one", out, "-O", "raw").refused(t, "salvage")
	d.mustImsfs(t, "export", "one", out, "-O", "raw", "--salvage")
	got := readFile(t, out)
	if len(got) != 2*page || got[0] != 7 || got[page] != 0 {
		t.Errorf("%d bytes", len(got))
	}
	wantWords(t, "error", read(t, d.volume("one", "error")), "could not be read", "zeros")
}
