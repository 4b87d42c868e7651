package lifecycle

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/raw"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// loseDatabase closes the registry and opens another on what a rebuild makes of the store, which
// has forgotten what was not complete.
func (h *house) loseDatabase() catalog.Restored {
	h.t.Helper()
	notes := map[uint64]string{}
	for _, v := range h.Volumes() {
		for _, rec := range v.record().Bases() {
			notes[rec.ID] = h.noteOf(rec.Image())
		}
	}
	for _, img := range h.Images() {
		notes[img.id] = h.noteOf(img.record())
	}
	h.close()
	disks, err := h.store.Disks()
	if err != nil {
		h.t.Fatal(err)
	}
	var found []catalog.Found
	for _, disk := range disks {
		st, err := h.store.Status(disk)
		if err == nil && st.Complete() {
			found = append(found, catalog.Found{Disk: disk, Size: st.Size, Note: notes[disk]})
		} else if err := errors.Join(err, h.store.Delete(disk)); err != nil {
			h.t.Fatal(err)
		}
	}
	if _, err := kv.Reset(h.dir, catalog.BeginRestore); err != nil {
		h.t.Fatal(err)
	}
	db, err := kv.Open(h.dir, kv.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := Open(h.t.Context(), db, Config{}); !errors.Is(err, kv.ErrDamaged) || !strings.Contains(err.Error(), "run it again") {
		h.t.Errorf("opening what is not restored yet: %v", err)
	}
	back, err := catalog.Restore(db, found, filepath.Join(h.dir, "volumes"))
	if err = errors.Join(err, db.Close()); err != nil {
		h.t.Fatal(err)
	}
	h.open()
	return back
}

func volumeStatuses(h *house) (all []string) {
	for _, v := range h.Volumes() {
		all = append(all, v.Status()+fmt.Sprint(v.Meta()))
	}
	return all
}

// TestVolumesOutliveTheDatabase: they are as they were, and go on, with deltas and bases of all
// kinds.
func TestVolumesOutliveTheDatabase(t *testing.T) {
	h := newVolumes(t)
	disk := padded("hello", 300<<10)
	img := h.register("web", disk, "os=linux")
	h.work(img, "hydrate")
	want := map[string]string{"one": disk, "two": disk, "snapped": disk, "committed": disk, "lazy": disk, "read-through": disk, "empty": padded("", 1<<20)}
	for _, name := range []string{"one", "two", "snapped", "committed"} {
		h.clone(img, name)
	}
	h.clone(h.register("part", disk), "lazy")
	h.clone(h.register("none", disk, "load=none"), "read-through")
	h.do(h, "create", "empty", "size=1048576")
	for name := range want {
		h.write(h.volume(name), 1000, name)
		want[name] = over(want[name], 1000, name)
	}
	for _, verb := range []string{"snapshot", "commit"} {
		name := map[string]string{"snapshot": "snapped", "commit": "committed"}[verb]
		v := h.volume(name)
		h.do(v, verb, "of-"+name)
		if err := h.finishVolume(v); err != nil {
			t.Fatal(err)
		}
		h.write(v, 200000, "later")
		want[name] = over(want[name], 200000, "later")
	}
	h.do(h.volume("one"), "resize", "524288")
	want["one"] = padded(want["one"], 512<<10)
	h.do(h.volume("two"), "set", "shared", "yes")
	h.do(h.volume("two"), "set", "description", "the second")
	h.do(h.volume("two"), "rename", "zwei")
	want["zwei"] = want["two"]
	delete(want, "two")
	h.clone(img, "gone")
	h.do(h.volume("gone"), "delete")

	before := volumeStatuses(h)
	for round := range 2 {
		back := h.loseDatabase()
		if len(back.Volumes) != len(want) || back.Lacking != nil || back.Aside != "" {
			t.Errorf("round %d: %+v", round, back)
		}
		if after := volumeStatuses(h); !slices.Equal(before, after) {
			t.Errorf("before\n%s\nafter\n%s", before, after)
		}
		for range 2 {
			for name, text := range want {
				h.has(h.volume(name), text)
			}
			h.reopen()
		}
	}
	last := uint64(0)
	for _, v := range h.Volumes() {
		last = max(last, slices.Max(append(v.record().Deltas, v.id)))
	}
	if v := h.clone(h.image("web"), "next"); v.id <= last {
		t.Errorf("number %d was given again", v.id)
	}
	h.write(h.volume("snapped"), 7, "more")
	h.do(h.volume("snapped"), "revert")
	h.has(h.volume("snapped"), disk)
}

// TestWhatWasCommittedIsLost: of a volume that rests on nothing any more, what was written since
// can be read and exported.
func TestWhatWasCommittedIsLost(t *testing.T) {
	h := newVolumes(t)
	h.close()
	h.writers = []formats.Driver{raw.Driver{}}
	h.open()
	disk := padded("hello", 300<<10)
	img := h.register("web", disk)
	one, snapped := h.clone(img, "one"), h.clone(img, "snapped")
	h.do(one, "commit", "next")
	h.do(snapped, "snapshot", "before")
	if err := errors.Join(h.finishVolume(one), h.finishVolume(snapped)); err != nil {
		t.Fatal(err)
	}
	h.write(one, 8192, strings.Repeat("since", 4096))
	back := h.loseDatabase()
	if !slices.Equal(back.Lacking, []string{"one", "snapped"}) || len(back.Volumes) != 2 {
		t.Errorf("%+v", back)
	}
	one = h.volume("one")
	for range 2 { // before anybody opened it, and after
		if status := one.Status(); value(t, status, "state") != "error" || !strings.Contains(value(t, status, "error"), "the committed blocks are lost") {
			t.Errorf("status\n%s", status)
		}
		if _, err := one.OpenWriter(t.Context(), command.Process{PID: 1}); !errors.Is(err, syscall.EROFS) {
			t.Errorf("opening it for writing: %v", err)
		}
	}
	d, err := one.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 20480)
	if _, err := d.ReadAt(t.Context(), p, 8192); err != nil || string(p) != strings.Repeat("since", 4096) {
		t.Errorf("what was written since: %q, %v", p[:10], err)
	}
	if n, err := d.ReadAt(t.Context(), p, 0); err == nil {
		t.Errorf("what is lost reads as %q", p[:n])
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "out")
	if err := exportVolume(h, one, "raw", dest); err == nil {
		t.Error("it is exported as if it were whole")
	}
	if err := exportVolume(h, one, "raw", dest, "salvage=yes"); err != nil {
		t.Fatal(err)
	}
	h.holds(dest, over(padded("", 300<<10), 8192, strings.Repeat("since", 4096)))
	h.reopen()
	h.do(h.volume("snapped"), "revert") // to what the source still has
	h.has(h.volume("snapped"), disk)
	h.write(h.volume("snapped"), 0, "on")
	h.has(h.volume("snapped"), over(disk, 0, "on"))
	h.do(h.volume("one"), "delete")
}

// TestUnclaimedDeltasAreSetAside: of notes that do not hold together nothing comes back, nothing is
// lost, and names are given once.
func TestUnclaimedDeltasAreSetAside(t *testing.T) {
	h := newVolumes(t)
	for _, name := range []string{"one", "two", "torn", "bare", "stranger"} {
		h.do(h, "create", name, "size=4096")
		h.write(h.volume(name), 0, name)
	}
	dir := filepath.Join(h.dir, "volumes")
	note := func(name string) string { return filepath.Join(dir, fmt.Sprint(h.volume(name).id)+".volume") }
	delta := func(name string) string { return h.deltaFile(h.volume(name)) }
	rewrite := func(from, old, new, to string) error {
		text, err := os.ReadFile(from)
		return errors.Join(err, os.WriteFile(to, bytes.Replace(text, []byte(old), []byte(new), 1), 0o600))
	}
	second := filepath.Join(dir, "900.volume") // with deltas that are another's
	gone := []string{second, note("torn"), delta("torn"), note("bare"), delta("bare"), delta("stranger")}
	err := errors.Join(
		rewrite(note("two"), `"two"`, `"one"`, note("two")),
		rewrite(note("one"), fmt.Sprintf(`"id":%d,`, h.volume("one").id), `"id":900,`, second),
		os.Truncate(note("torn"), 20),
		os.Remove(strings.TrimSuffix(delta("bare"), "delta")+"bitmap"),
		os.Remove(note("stranger")),
	)
	if err != nil {
		t.Fatal(err)
	}
	renamed := fmt.Sprintf("one-%d", h.volume("two").id)
	back := h.loseDatabase()
	if want := []string{"one", renamed}; !slices.Equal(back.Volumes, want) || back.Aside != dir+".old-1" {
		t.Errorf("%+v, want %q", back, want)
	}
	h.has(h.volume("one"), padded("one", 4096))
	h.has(h.volume(renamed), padded("two", 4096))
	for _, path := range gone {
		if _, err := os.Stat(filepath.Join(back.Aside, filepath.Base(path))); err != nil {
			t.Error(err)
		}
	}
	h.noted()
}
