package test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestSameNames: a name that an image and a volume have is the image's, by every command; volumes/NAME is the volume's.
func TestSameNames(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), mib, 61)
	d.register(t, "both", m.path)
	d.tell(t, "both", "clone both")
	d.tell(t, "both", "clone alone")
	for _, c := range []struct{ name, at string }{
		{"both", d.path("images", "both")}, {"images/both", d.path("images", "both")},
		{"volumes/both", d.volume("both", "")}, {"alone", d.volume("alone", "")}, {"volumes/alone", d.volume("alone", "")},
	} {
		if r := d.cli(t, "set", c.name, "description", "by "+c.name); r.code != 0 {
			t.Errorf("set %s: %+v", c.name, r)
		}
		if got := read(t, filepath.Join(c.at, "meta", "description")); got != "by "+c.name+"\n" {
			t.Errorf("set %s: %s has %q", c.name, c.at, got)
		}
	}
	if r := d.cli(t, "mv", "volumes/both", "other"); r.code != 0 {
		t.Errorf("mv: %+v", r)
	}
	if r := d.cli(t, "rm", "volumes/other"); r.code != 0 {
		t.Errorf("rm: %+v", r)
	}
	read(t, d.path("images", "both", "status")) // is there still
	d.cli(t, "rm", "volumes/both").refused(t, `there is no volume "both"`)
}

// TestSnapshotCommand: the image is what the volume has, and a revert goes back behind it.
func TestSnapshotCommand(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), mib, 62)
	d.register(t, "web", m.path)
	d.tell(t, "web", "clone one")
	was := first(t, m.path)
	now := bytes.Clone(was)
	copy(now[5000:], "written")
	check(t, os.WriteFile(d.file("now"), now, 0o600))
	f, err := os.OpenFile(d.volume("one", "disk"), os.O_RDWR, 0)
	check(t, err)
	_, err = f.WriteAt([]byte("written"), 5000)
	check(t, err)
	d.cli(t, "snapshot", "one", "early", "--quiesce").refused(t, "open for writing")
	if r := d.cli(t, "snapshot", "one", "early", "os=linux"); r.code != 0 {
		t.Errorf("snapshot: %+v", r)
	}
	check(t, f.Close())
	do(t, "cmp", d.file("now"), d.disk("early"))
	if got := read(t, d.path("images", "early", "meta", "os")); got != "linux\n" {
		t.Errorf("os %q", got)
	}
	d.cli(t, "snapshot", "one", "early").refused(t, "early", "taken")
	sameContent(t, d.place, "one", now)
	if r := d.cli(t, "revert", "one"); r.code != 0 {
		t.Errorf("revert: %+v", r)
	}
	sameContent(t, d.place, "one", was)
}

// TestSalvageCommand: a damaged volume is only exported with --salvage, and what cannot be read is zeros.
func TestSalvageCommand(t *testing.T) {
	const page = 63 * mib // docs/overlay.md
	d := serve(t)
	d.tell(t, "", "create one size="+strconv.Itoa(2*page))
	f, err := os.OpenFile(d.volume("one", "disk"), os.O_RDWR, 0)
	check(t, err)
	for i := range int64(2) {
		_, err = f.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(i+7)), i*page)
		check(t, err)
	}
	check(t, f.Close())
	d.stop(t)
	bitmaps, err := filepath.Glob(filepath.Join(d.store, "volumes", "*.bitmap"))
	if check(t, err); len(bitmaps) != 1 {
		t.Fatalf("bitmaps %q", bitmaps)
	}
	check(t, os.Remove(strings.TrimSuffix(bitmaps[0], "bitmap")+"sums")) // it would mend the bitmap
	b, err := os.OpenFile(bitmaps[0], os.O_RDWR, 0)
	check(t, err)
	for slot := range int64(2) { // of the second page
		_, err := b.WriteAt([]byte("damage"), 8192+8192+slot*4096+100)
		check(t, err)
	}
	check(t, b.Close())
	d = d.place.serve(t)
	d.log.expect("a volume is damaged")
	out := d.file("out")
	d.cli(t, "export", "one", out, "-O", "raw").refused(t, "salvage")
	if r := d.cli(t, "export", "one", out, "-O", "raw", "--salvage"); r.code != 0 {
		t.Errorf("export --salvage: %+v", r)
	}
	got := first(t, out)
	if len(got) != 2*page || got[0] != 7 || got[page] != 0 {
		t.Errorf("%d bytes", len(got))
	}
	wantWords(t, "error", read(t, d.volume("one", "error")), "could not be read", "zeros")
}
