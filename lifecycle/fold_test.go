package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/imsfs/imsfs/blockstore/mem"
	"github.com/imsfs/imsfs/blockstore/storetest"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/raw"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/job"
)

// deltasAre says how many deltas a volume is to have, and that no others are there.
func (h *house) deltasAre(v *Volume, want int) {
	h.t.Helper()
	deltas := v.record().Deltas
	h.settle() // a commit leaves its deltas to be removed
	there, err := h.deltas.List()
	slices.Sort(there)
	if there = slices.Compact(there); err != nil || len(deltas) != want || len(there) != want {
		h.t.Errorf("%s has the deltas %d, and there are %d (%v): want %d", v.Name(), deltas, there, err, want)
	}
}

// finishVolume waits for a volume's job and returns its outcome.
func (h *house) finishVolume(v *Volume) error {
	h.t.Helper()
	return v.jobs.Wait(h.t.Context())
}

// TestFailuresLeaveNoDeltas: an export or a commit that fails takes back what it put on top, but
// for what the first of them stopped.
func TestFailuresLeaveNoDeltas(t *testing.T) {
	broken := errors.New("the store is broken")
	h := newVolumes(t)
	h.close()
	h.writers = []formats.Driver{raw.Driver{}, liar{}}
	h.store = storetest.NewFaulty(t, mem.New(0), storetest.Fault{Op: storetest.OpCreate, Nth: 1, Err: broken}, storetest.Fault{Op: storetest.OpSave, Nth: 1, Err: broken})
	h.open()
	h.do(h, "create", "one", "size=1048576")
	v, disk, dir := h.volume("one"), padded("", 1<<20), t.TempDir()
	d, err := v.OpenWriter(t.Context(), command.Process{PID: 1})
	if err != nil {
		t.Fatal(err)
	}
	for n, words := range []string{"export liar " + dir + "/out", "commit next", "snapshot next", "export liar " + dir + "/out"} {
		text := strings.Repeat(string(rune('a'+n)), 9000)
		if _, err := d.WriteAt(t.Context(), []byte(text), int64(n)*5000); err != nil {
			t.Fatal(err)
		}
		disk = over(disk, n*5000, text)
		if err := v.Do(t.Context(), command.Call{Line: words}); err != nil {
			t.Fatal(err)
		}
		if err := h.finishVolume(v); err == nil {
			t.Errorf("%s went well", words)
		}
		h.deltasAre(v, 2)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	h.has(h.volume("one"), disk)
	h.do(h.volume("one"), "commit", "next")
	if err := h.finishVolume(h.volume("one")); err != nil {
		t.Error(err)
	}
	h.deltasAre(h.volume("one"), 1)
	h.has(h.volume("one"), disk)
}

// gate stops the reads of a source.
type gate struct{ reading, let chan struct{} }

// TestCancelledExportsLeaveNoDeltas: the fold goes on although the job was told to end.
func TestCancelledExportsLeaveNoDeltas(t *testing.T) {
	var at atomic.Pointer[gate]
	h, dir := newExporter(t, flat{read: func(ctx context.Context, _ int64) error {
		if g := at.Load(); g != nil {
			select {
			case g.reading <- struct{}{}:
			default:
			}
			<-g.let
		}
		return nil
	}})
	h.close()
	h.config = func(cfg *Config) { cfg.Volumes = filepath.Join(h.dir, "volumes") }
	h.open()
	disk := sectors("v")
	v := h.clone(h.register("web", disk), "one")
	for n := range 3 {
		h.write(v, int64(n)*5000, "written")
		disk = over(disk, n*5000, "written")
		g := &gate{make(chan struct{}, 1), make(chan struct{})}
		at.Store(g)
		h.do(v, "export", "raw", dir+"/out")
		<-g.reading
		h.do(v, "cancel")
		at.Store(nil)
		close(g.let)
		if err := h.finishVolume(v); !errors.Is(err, job.ErrCancelled) {
			t.Errorf("it ended with %v", err)
		}
		h.deltasAre(v, 2)
	}
	h.has(v, disk)
	h.empty(dir)
}

// pile puts deltas on a volume, as daemons did that were killed, each with a text of its own; all
// of them but the lowest have the first unit.
func (h *house) pile(v *Volume, deltas int) (disk string) {
	h.t.Helper()
	d, err := v.OpenWriter(h.t.Context(), command.Process{PID: 1})
	if err != nil {
		h.t.Fatal(err)
	}
	disk = padded("", int(v.Size()))
	for n := range deltas {
		if n > 0 {
			if _, err := v.freeze(d.Disk); err != nil {
				h.t.Fatal(err)
			}
		}
		for _, off := range []int{0, (n + 1) * 5000} {
			text := fmt.Sprintf("delta %d at %d", n, off)
			disk = over(disk, off, text)
			if _, err := d.WriteAt(h.t.Context(), []byte(text), int64(off)); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	if err := d.Close(); err != nil {
		h.t.Fatal(err)
	}
	return disk
}

// TestFoldWhenOpened: the deltas of a daemon that was killed are folded by the next one, volume
// after volume.
func TestFoldWhenOpened(t *testing.T) {
	h := newVolumes(t)
	disks := map[string]string{}
	for name, deltas := range map[string]int{"one": 2, "two": 3, "many": 20} {
		h.do(h, "create", name, "size=131072")
		disks[name] = h.pile(h.volume(name), deltas)
	}
	h.reopen()
	h.tendVolumes()
	for name, want := range map[string]string{"one": "", "two": "DONE 1.00 - fold", "many": "DONE 1.00 - fold"} {
		v := h.volume(name)
		if want != "" {
			if err := h.finishVolume(v); err != nil {
				t.Error(err)
			}
		}
		if got := v.Job(); got != want {
			t.Errorf("%s: job %q, want %q", name, got, want)
		}
		if n := len(v.record().Deltas); n != restDeltas {
			t.Errorf("%s has %d deltas", name, n)
		}
		h.has(v, disks[name])
	}
	h.reopen()
	for name, disk := range disks {
		h.has(h.volume(name), disk)
	}
}

// TestTooManyDeltas: who cannot fold is told so, and a snapshot helps.
func TestTooManyDeltas(t *testing.T) {
	h := newVolumes(t)
	h.close()
	h.writers = []formats.Driver{raw.Driver{}}
	h.open()
	h.do(h, "create", "one", "size=131072")
	v := h.volume("one")
	d, err := v.Open(t.Context()) // before the damage, which it would find
	if err != nil {
		t.Fatal(err)
	}
	disk := h.pile(v, maxDeltas)
	files, err := h.deltas.Open(v.record().Deltas[maxDeltas-2])
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(files.Name)
	if err = errors.Join(err, files.Data.Truncate(0)); err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "out")
	if err := exportVolume(h, v, "raw", dest); !errors.Is(err, command.ErrBusy) || !strings.Contains(err.Error(), "16 deltas") || !strings.Contains(err.Error(), files.Name) {
		t.Errorf("an export over deltas that cannot be folded: %v", err)
	}
	_, err = files.Data.WriteAt(whole, 0)
	if err = errors.Join(err, files.Close()); err != nil {
		t.Fatal(err)
	}
	if err := exportVolume(h, v, "raw", dest); err != nil {
		t.Fatal(err)
	}
	h.holds(dest, disk)
	h.deltasAre(v, restDeltas)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
