package test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
	d.imsfs(t, "rm", "both").refused(t, "say volumes/both or images/both")
	d.mustImsfs(t, "mv", "volumes/both", "other")
	if r := d.imsfs(t, "rm", "none", "volumes/other", "nor this"); r.code != 1 || strings.Count(r.stderr, "\n") != 2 {
		t.Errorf("rm of one that exists among two that do not: %+v", r)
	}
	read(t, d.path("images", "both", "status")) // still there
	d.imsfs(t, "rm", "volumes/both").refused(t, `there is no volume "both"`)
}

// TestSnapshotCommand: the image has the volume's bytes, and a revert goes back to the state
// before.
func TestSnapshotCommand(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), mib, 62)
	d.register(t, "web", m.path)
	d.run(t, "web", "clone one")
	v := &tracked{t: t, p: d.place, name: "one", want: readFile(t, m.path)}
	v.open()
	v.write(5000, 7)
	t.Run("quiesce refuses while the disk is open for writing", func(t *testing.T) {
		d.imsfs(t, "snapshot", "one", "early", "--quiesce").refused(t, "open for writing")
	})
	t.Run("the image has the bytes of a disk that is in use, and the attributes given", func(t *testing.T) {
		d.mustImsfs(t, "snapshot", "one", "early", "os=linux")
		if got := readFile(t, d.disk("early")); !bytes.Equal(got, v.want) {
			t.Errorf("the image differs at %d", firstDifference(got, v.want))
		}
		if got := read(t, d.path("images", "early", "meta", "os")); got != "linux\n" {
			t.Errorf("os is %q", got)
		}
	})
	v.close()
	t.Run("a name that is taken is refused", func(t *testing.T) {
		d.imsfs(t, "snapshot", "one", "early").refused(t, "early", "taken")
		v.same()
	})
	t.Run("a revert goes back to the state before the snapshot", func(t *testing.T) {
		d.mustImsfs(t, "revert", "one")
		v.want = readFile(t, m.path)
		v.same()
	})
}

// TestSalvageCommand: a damaged volume is exported only with --salvage, and unreadable ranges are
// zeros.
func TestSalvageCommand(t *testing.T) {
	d := serve(t)
	d.run(t, "", "create one size="+strconv.Itoa(2*pageSpan))
	f, err := os.OpenFile(d.volume("one", "disk"), os.O_RDWR, 0)
	must(t, err)
	for i := range int64(2) {
		_, err = f.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(i+7)), i*pageSpan)
		must(t, err)
	}
	must(t, f.Close())
	d.stop(t)
	d.damagePage(t, 1)
	d = d.place.serve(t)
	d.log.expect("a volume is damaged")
	out := d.file("out")
	d.imsfs(t, "export", "one", out, "-O", "raw").refused(t, "salvage")
	d.mustImsfs(t, "export", "one", out, "-O", "raw", "--salvage")
	got := readFile(t, out)
	if len(got) != 2*pageSpan || got[0] != 7 || got[pageSpan] != 0 {
		t.Errorf("%d bytes", len(got))
	}
	wantWords(t, "error", read(t, d.volume("one", "error")), "could not be read", "zeros")
}

// TestTagCommand: tags are listed, set and removed, and show has them.
func TestTagCommand(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), mib, 63)
	d.register(t, "web", m.path)
	for _, c := range []struct{ name, args, tags string }{
		{"no tags", "tag web", ""},
		{"set some", "tag web stage=prod reviewed", "reviewed=\nstage=prod\n"},
		{"change one", "tag web stage=test", "reviewed=\nstage=test\n"},
		{"remove one", "tag -d web reviewed", "stage=test\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d.mustImsfs(t, strings.Fields(c.args)...)
			if got := d.imsfs(t, "tag", "web").stdout; got != c.tags {
				t.Errorf("tags are %q, want %q", got, c.tags)
			}
		})
	}
	var shown struct{ Tags map[string]string }
	must(t, json.Unmarshal([]byte(d.mustImsfs(t, "show", "web", "--json")), &shown))
	if shown.Tags["stage"] != "test" || len(shown.Tags) != 1 {
		t.Errorf("show has the tags %q", shown.Tags)
	}
	d.imsfs(t, "tag", "-d", "web", "none").refused(t, `no tag "none"`)
	d.imsfs(t, "tag", "web", "a key=v").refused(t, "must be")
	d.imsfs(t, "tag", "-d", "web").failed(t, 2, "KEY")
}

// TestShowWhatIsLocal: ls and show report how much of an image the store has.
func TestShowWhatIsLocal(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), mib, 64)
	d.register(t, "web", m.path)
	var shown struct {
		Load     string
		Complete bool
		Loaded   int64
		Digest   string
	}
	look := func() {
		t.Helper()
		must(t, json.Unmarshal([]byte(d.mustImsfs(t, "show", "web", "--json")), &shown))
	}
	if look(); shown.Load != "lazy" || shown.Complete {
		t.Errorf("a registered image is shown as %+v", shown)
	}
	d.mustImsfs(t, "hydrate", "web")
	if look(); !shown.Complete || shown.Loaded == 0 || len(shown.Digest) != 64 {
		t.Errorf("a hydrated image is shown as %+v", shown)
	}
	if fields := strings.Fields(d.mustImsfs(t, "ls")); !slices.Contains(fields, "LOCAL") || !slices.Contains(fields, "all") {
		t.Errorf("ls prints %q", fields)
	}
}
