package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/mem"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/job"
)

// newVolumes opens a house that has room for volumes.
func newVolumes(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), sources: t.TempDir(), store: mem.New(0), slow: &slow{}}
	h.config = func(cfg *Config) { cfg.Volumes = filepath.Join(h.dir, "volumes") }
	h.open()
	t.Cleanup(h.close)
	return h
}

func (h *house) volume(name string) *Volume {
	h.t.Helper()
	v, err := h.Volume(name)
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

// clone makes a volume of an image.
func (h *house) clone(img *Image, name string, more ...string) *Volume {
	h.t.Helper()
	h.do(img, append([]string{"clone", name}, more...)...)
	return h.volume(name)
}

// write writes to a volume, and flushes.
func (h *house) write(v *Volume, off int64, text string) {
	h.t.Helper()
	d, err := v.OpenWriter(h.t.Context(), command.Process{PID: 1})
	if err != nil {
		h.t.Fatal(err)
	}
	_, err = d.WriteAt(h.t.Context(), []byte(text), off)
	if err = errors.Join(err, d.Flush(), d.Close()); err != nil {
		h.t.Fatal(err)
	}
}

// has compares all of a volume's disk.
func (h *house) has(v *Volume, want string) {
	h.t.Helper()
	d, err := v.Open(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	got := make([]byte, d.Size())
	if _, err := d.ReadAt(h.t.Context(), got, 0); err != nil && err != io.EOF {
		h.t.Errorf("reading %s: %v", v.Name(), err)
	}
	if err := d.Close(); err != nil {
		h.t.Error(err)
	}
	if !bytes.Equal(got, []byte(want)) {
		h.t.Errorf("%s has %d bytes that are not the %d it should have", v.Name(), len(got), len(want))
	}
}

// disks lists the disks of the store once all that was being closed is.
func (h *house) disks(want ...uint64) {
	h.t.Helper()
	h.reopen()
	got, err := h.store.Disks()
	if err != nil || !slices.Equal(got, want) {
		h.t.Errorf("the store has the disks %d (%v), want %d", got, err, want)
	}
}

// padded is content of whole sectors.
func padded(text string, size int) string { return text + strings.Repeat("\x00", size-len(text)) }

// over is text with other text at an offset.
func over(text string, off int, other string) string {
	return text[:off] + other + text[off+len(other):]
}

func TestVolumesShareTheImagesDisk(t *testing.T) {
	h := newVolumes(t)
	disk := padded("hello", 300<<10)
	img := h.register("web", disk)
	one, two := h.clone(img, "one"), h.clone(img, "two", "size=524288")
	h.write(one, 10, "one's")
	held := mustOpen(t, img)
	d, err := two.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if one.base != img.slot || two.base != img.slot {
		t.Error("the volumes do not rest on the image's disk")
	}
	if opens := value(t, img.Status(), "opens"); opens != "1" {
		t.Errorf("the image is open %s times, by itself once", opens)
	}
	if err := errors.Join(held.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	h.disks(img.ID())
	h.do(h.image("web"), "delete")
	h.disks(img.ID())
	h.has(h.volume("one"), over(disk, 10, "one's"))
	h.has(h.volume("two"), padded(disk, 512<<10))
	h.do(h.volume("one"), "delete")
	h.disks(img.ID())
	h.has(h.volume("two"), padded(disk, 512<<10))
	h.do(h.volume("two"), "delete")
	h.disks()
}

// TestDeletingTheLastEndsTheDisk without a restart: the last one's end is the disk's.
func TestDeletingTheLastEndsTheDisk(t *testing.T) {
	h := newVolumes(t)
	img := h.register("web", padded("hello", 4096))
	v := h.clone(img, "one")
	h.has(v, padded("hello", 4096))
	h.do(v, "delete")
	h.do(img, "delete")
	h.close()
	if got, err := h.store.Disks(); err != nil || len(got) != 0 {
		t.Errorf("the store has the disks %d (%v)", got, err)
	}
}

// TestQuiesce: a commit that wants no writer is refused while there is one, and leaves nothing.
func TestQuiesce(t *testing.T) {
	h := newVolumes(t)
	v := h.clone(h.register("web", padded("hello", 4096)), "one")
	d, err := v.OpenWriter(t.Context(), command.Process{PID: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"commit", "snapshot"} {
		if err := v.Do(t.Context(), command.Call{Line: verb + " next quiesce=yes"}); !errors.Is(err, command.ErrBusy) || !strings.Contains(err.Error(), "open for writing") {
			t.Errorf("%s: %v", verb, err)
		}
		if err := v.Do(t.Context(), command.Call{Line: verb + " next quiesce=often"}); err == nil {
			t.Errorf("%s quiesce=often was taken", verb)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	h.do(v, "snapshot", "next", "quiesce=yes")
	_ = h.finishVolume(v)
	if _, err := h.Image("next"); err != nil {
		t.Error(err)
	}
}

// TestWhatAnImageKeptIsKept: a hydrated image's disk stays whole for the volumes when the image
// goes, and its source may be gone.
func TestWhatAnImageKeptIsKept(t *testing.T) {
	h := newVolumes(t)
	disk := padded("hello", 300<<10)
	img := h.register("web", disk)
	v := h.clone(img, "one")
	h.work(img, "hydrate")
	if v.record().Base.Kept {
		t.Fatal("the volume has heard of it too early for this test")
	}
	h.do(img, "delete")
	if err := os.Remove(filepath.Join(h.sources, "web")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.trim(t.Context()); err != nil || !v.record().Base.Kept {
		t.Errorf("trim: %v; kept %v", err, v.record().Base.Kept)
	}
	h.reopen()
	h.has(h.volume("one"), disk)
}

// TestEvictIsForVolumesToo: what the source gives again leaves, and is loaded again for the volume
// that needs it.
func TestEvictIsForVolumesToo(t *testing.T) {
	h := newVolumes(t)
	disk := padded("hello", 300<<10)
	img := h.register("web", disk)
	v := h.clone(img, "one")
	h.work(img, "hydrate")
	h.work(img, "evict")
	if st, err := h.store.Status(img.ID()); err != nil || st.Loaded != 0 {
		t.Errorf("%+v, %v", st, err)
	}
	h.has(v, disk)
	if err := os.Remove(filepath.Join(h.sources, "web")); err != nil {
		t.Fatal(err)
	}
	if err := img.Do(t.Context(), command.Call{Line: "evict"}); err == nil {
		t.Error("evicted what the source cannot give again")
	}
}

// TestVolumesOfOlderStores have a disk of their own, under a number of their own.
func TestVolumesOfOlderStores(t *testing.T) {
	h := newVolumes(t)
	disk := padded("hello", 300<<10)
	img := h.register("web", disk)
	v := h.clone(img, "one")
	n, err := h.catalog.Next()
	if err != nil {
		t.Fatal(err)
	}
	old := v.record()
	old.Base.ID = n
	if err := h.store.Create(n, old.Size, ""); err != nil {
		t.Fatal(err)
	}
	if err := v.update(func(rec *catalog.Volume) { *rec = old }); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	h.disks(img.ID(), n)
	h.has(h.volume("one"), disk)
	if st, err := h.store.Status(n); err != nil || st.Total != blockstore.Blocks(300<<10) {
		t.Errorf("%+v, %v", st, err)
	}
	h.do(h.image("web"), "delete")
	h.disks(n)
	h.has(h.volume("one"), disk)
	h.do(h.volume("one"), "delete")
	h.disks()
}

// TestErrorOfAJobStays, also if the job fails before the command that started it is through.
func TestErrorOfAJobStays(t *testing.T) {
	h := newVolumes(t)
	h.do(h, "create", "one", "size=4096")
	v := h.volume("one")
	fail := func(context.Context, *job.Job) error { return errors.New("it broke") }
	slow := []verb[*Volume]{{Spec: command.Spec{Name: "slow"}, Prepare: func(v *Volume, _ context.Context, _ *command.Args) (plan, error) {
		return failFirst(h.Registry, &v.jobs, fail)
	}}}
	if err := do(t.Context(), h.Registry, &v.jobs, slow, v, command.Call{Line: "slow"}); err != nil {
		t.Error(err)
	}
	if got := v.LastError(); got != "slow: it broke" {
		t.Errorf("error %q", got)
	}
	ofStore := []verb[*Registry]{{Spec: command.Spec{Name: "slow"}, Prepare: func(r *Registry, _ context.Context, _ *command.Args) (plan, error) {
		return failFirst(r, &r.jobs, fail)
	}}}
	if err := do(t.Context(), h.Registry, &h.jobs, ofStore, h.Registry, command.Call{Line: "slow"}); err != nil {
		t.Error(err)
	}
	if got := h.LastError(); got != "slow: it broke" {
		t.Errorf("error of the store %q", got)
	}
}

// failFirst is the plan of a job that has failed before its command is through.
func failFirst(r *Registry, jobs *job.Slot, work func(context.Context, *job.Job) error) (plan, error) {
	p, err := r.startJob(jobs, "slow", work)
	start := p.Then
	p.Then = func(ctx context.Context) error {
		err := start(ctx)
		_ = jobs.Wait(ctx)
		return err
	}
	return p, err
}
