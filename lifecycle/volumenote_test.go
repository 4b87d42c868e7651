package lifecycle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// volumeFiles reads all that is in the volumes' directory.
func (h *house) volumeFiles() map[string][]byte {
	h.t.Helper()
	paths, err := filepath.Glob(filepath.Join(h.dir, "volumes", "*"))
	if err != nil {
		h.t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, path := range paths {
		if files[path], err = os.ReadFile(path); err != nil {
			h.t.Fatal(err)
		}
	}
	return files
}

func (h *house) putBack(files map[string][]byte, which func(path string) bool) {
	h.t.Helper()
	for path, text := range files {
		if which(path) {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				h.t.Fatal(err)
			}
		}
	}
}

// TestKilledBetweenNoteAndRecord: a kill leaves the note of before or of after, and the deltas of
// both. With the database the record counts, without it the note.
func TestKilledBetweenNoteAndRecord(t *testing.T) {
	disk := padded("hello", 300<<10)
	written := over(disk, 5000, "written")
	for _, c := range []struct{ line, name, after string }{
		{"revert", "one", disk},
		{"snapshot next", "one", written},
		{"commit next", "one", written},
		{"rename uno", "uno", written},
	} {
		for _, old := range []bool{false, true} {
			for _, lost := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, old note %v, lost database %v", c.line, old, lost), func(t *testing.T) {
					h := newVolumes(t)
					img := h.register("web", disk)
					h.work(img, "hydrate")
					v := h.clone(img, "one")
					h.write(v, 5000, "written")
					before := h.volumeFiles()
					h.do(v, strings.Fields(c.line)...)
					if v.Job() != "" {
						if err := h.finishVolume(v); err != nil {
							t.Fatal(err)
						}
					}
					kill := func() {
						h.putBack(before, func(path string) bool {
							_, err := os.Stat(path)
							return err != nil || old && strings.HasSuffix(path, ".volume")
						})
					}
					name, want := c.name, c.after
					if !lost {
						h.close()
						kill()
						h.open()
					} else {
						if old {
							name, want = "one", written
						}
						h.settle() // a commit leaves its deltas to be removed
						kill()
						h.loseDatabase()
					}
					h.has(h.volume(name), want)
					h.noted()
					if there, err := h.deltas.List(); err != nil || len(there) != len(h.volume(name).record().Deltas) {
						t.Errorf("the deltas %d are there, %v", there, err)
					}
				})
			}
		}
	}
}

// noted compares the volumes' notes with their records.
func (h *house) noted() {
	h.t.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "volumes", "*.volume*"))
	if err != nil || len(files) != len(h.Volumes()) {
		h.t.Errorf("%d volumes have the notes %q, %v", len(h.Volumes()), files, err)
	}
	for _, v := range h.Volumes() {
		if text, err := h.deltas.Note(v.id); err != nil || string(text) != h.inDatabase(v) {
			h.t.Errorf("%s: the note says %s, the database %s; %v", v.Name(), text, h.inDatabase(v), err)
		}
	}
}

// inDatabase is a volume's record as the database has it.
func (h *house) inDatabase(v *Volume) (text string) {
	h.t.Helper()
	err := h.db.View(func(tx *kv.Tx) error {
		b, err := tx.Get(binary.BigEndian.AppendUint64([]byte("volume/"), v.id))
		text = string(b)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

// TestNotesAreRenewed: one that is missing, old, unfinished or of no volume is put right when the
// registry is opened.
func TestNotesAreRenewed(t *testing.T) {
	h := newVolumes(t)
	for _, name := range []string{"one", "two", "three"} {
		h.do(h, "create", name, "size=4096")
	}
	h.noted()
	dir := filepath.Join(h.dir, "volumes")
	path := func(n uint64, suffix string) string { return filepath.Join(dir, fmt.Sprint(n)+suffix) }
	one, two, three := h.volume("one").id, h.volume("two").id, h.volume("three").id
	h.close()
	old, err := os.ReadFile(path(two, ".volume"))
	err = errors.Join(err, os.Remove(path(one, ".volume")), os.WriteFile(path(two, ".volume"), bytes.ReplaceAll(old, []byte("two"), []byte("zwo")), 0o600),
		os.WriteFile(path(three, ".volume.new"), old[:10], 0o600), os.WriteFile(path(900, ".volume"), old, 0o600), os.WriteFile(path(901, ".volume.new"), nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	h.open()
	h.do(h.volume("three"), "rename", "drei") // what was not finished is written over
	h.noted()
}

// TestNoteThatCannotBeWritten refuses the command, and all stays as it was.
func TestNoteThatCannotBeWritten(t *testing.T) {
	h := newVolumes(t)
	h.do(h, "create", "one", "size=4096")
	v := h.volume("one")
	h.write(v, 0, "text")
	was := h.inDatabase(v)
	inTheWay := filepath.Join(h.dir, "volumes", fmt.Sprint(v.id)+".volume.new")
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"rename uno", "set os linux", "resize 8192", "resize 512 force", "revert"} {
		if err := v.Do(t.Context(), command.Call{Line: line}); err == nil {
			t.Errorf("%s is carried out", line)
		}
	}
	h.do(v, "snapshot", "next")
	if err := h.finishVolume(v); err == nil {
		t.Error("it is snapped")
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if now := h.inDatabase(h.volume("one")); now != was {
			t.Errorf("was %s, is %s", was, now)
		}
		h.noted()
		h.has(h.volume("one"), padded("text", 4096))
		h.reopen()
	}
}
