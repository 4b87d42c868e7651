package lifecycle

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/raw"
	"github.com/imsfs/imsfs/lifecycle/command"
)

func exportVolume(h *house, v *Volume, words ...string) error {
	h.t.Helper()
	h.do(v, append([]string{"export"}, words...)...)
	return h.finishVolume(v)
}

// TestExportOfAVolume is what the disk had when it began, while it is written to, and again and
// again: the deltas do not pile up.
func TestExportOfAVolume(t *testing.T) {
	h, dir := newExporter(t, flat{})
	h.close()
	h.config = func(cfg *Config) { cfg.Volumes = filepath.Join(h.dir, "volumes") }
	h.open()
	disk := sectors("v")
	v := h.clone(h.register("web", disk), "one")
	d, err := v.OpenWriter(t.Context(), command.Process{PID: 1})
	if err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(dir, "out")
	for n := range maxDeltas + 3 {
		text := strings.Repeat(string(rune('a'+n)), 5000)
		if _, err := d.WriteAt(t.Context(), []byte(text), int64(n)*7000); err != nil {
			t.Fatal(err)
		}
		disk = over(disk, n*7000, text)
		if err := exportVolume(h, v, "raw", dest, "force=yes"); err != nil {
			t.Fatal(err)
		}
		h.holds(dest, disk)
		h.deltasAre(v, 2)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	h.has(h.volume("one"), disk)
}

// TestExportSalvages what is whole of a damaged volume.
func TestExportSalvages(t *testing.T) {
	h := newVolumes(t)
	h.close()
	h.writers = []formats.Driver{raw.Driver{}}
	h.open()
	const size = 130 << 20 // three pages of a bitmap
	h.do(h, "create", "one", "size=136314880")
	v := h.volume("one")
	h.write(v, 4096, "first")
	h.write(v, 64<<20, "second")
	h.write(v, 128<<20, "third")
	h.damagePage(v)
	dest := filepath.Join(t.TempDir(), "out")
	if err := exportVolume(h, v, "raw", dest); err == nil || !strings.Contains(err.Error(), "salvage=yes") {
		t.Errorf("export of a damaged volume: %v", err)
	}
	if got := value(t, v.Status(), "state"); got != "error" {
		t.Errorf("state %s", got)
	}
	if err := exportVolume(h, v, "raw", dest, "salvage=yes"); err != nil {
		t.Fatal(err)
	}
	const page = 16128 * 4096
	if !strings.Contains(v.LastError(), "1 ranges of the disk, together 66060288 bytes") {
		t.Errorf("error %q", v.LastError())
	}
	got, err := os.ReadFile(dest)
	if err != nil || len(got) != size || string(got[4096:4101]) != "first" || string(got[128<<20:][:5]) != "third" || string(got[page:][:5]) != "\x00\x00\x00\x00\x00" {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// damagePage makes the second page of the topmost delta's bitmap one that cannot be read, and takes
// away what would mend it.
func (h *house) damagePage(v *Volume) {
	h.t.Helper()
	delta := strings.TrimSuffix(h.deltaFile(v), ".delta")
	if err := os.Remove(delta + ".sums"); err != nil {
		h.t.Fatal(err)
	}
	bitmap := delta + ".bitmap"
	f, err := os.OpenFile(bitmap, os.O_RDWR, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	for slot := range int64(2) {
		if _, err := f.WriteAt([]byte("damage"), 8192+8192+slot*4096+100); err != nil {
			h.t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		h.t.Fatal(err)
	}
}

// TestDamageIsSeenAtOnce: before anybody opens the disk of a volume that is damaged, its status
// says so, and it takes no commit.
func TestDamageIsSeenAtOnce(t *testing.T) {
	h := newVolumes(t)
	h.do(h, "create", "one", "size=136314880")
	h.write(h.volume("one"), 64<<20, "text")
	h.damagePage(h.volume("one"))
	h.reopen()
	status := h.volume("one").Status()
	if value(t, status, "state") != "error" || !strings.Contains(value(t, status, "error"), "page 1") {
		t.Errorf("status\n%s", status)
	}
	h.reopen()
	if err := h.volume("one").Do(t.Context(), command.Call{Line: "commit next"}); !errors.Is(err, command.ErrBusy) {
		t.Errorf("a commit: %v", err)
	}
	h.tendVolumes()
	if !strings.Contains(h.log.String(), "a volume is damaged") {
		t.Errorf("log\n%s", h.log.String())
	}
}

// deltaFile is the data file of a volume's topmost delta.
func (h *house) deltaFile(v *Volume) string {
	h.t.Helper()
	files, err := h.deltas.Open(v.record().Deltas[0])
	if err != nil {
		h.t.Fatal(err)
	}
	if err := files.Close(); err != nil {
		h.t.Fatal(err)
	}
	return files.Name
}
