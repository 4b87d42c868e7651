package lifecycle

import (
	"context"
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/lazyload/source"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/job"
)

// finish waits for the image's job and returns its outcome.
func (h *house) finish(img *Image) error {
	h.t.Helper()
	if img.Job() == "" {
		h.t.Fatal("there is no job")
	}
	return img.jobs.Wait(h.t.Context())
}

// work gives an image a command that starts a job, and waits for its good end.
func (h *house) work(img *Image, words ...string) {
	h.t.Helper()
	h.do(img, words...)
	if err := h.finish(img); err != nil {
		h.t.Fatalf("%s: %v", command.Quote(words...), err)
	}
}

// long is content of several blocks.
func long(letter string) string { return strings.Repeat(letter+"0123456789abcdef", 40_000) }

func TestHydratedImageNeedsNoSource(t *testing.T) {
	h := newHouse(t)
	img := h.register("web", long("x"))
	if got := img.Digest(); got != "" {
		t.Errorf("digest %q before it is complete", got)
	}
	h.work(img, "hydrate")
	if got := value(t, img.Status(), "complete"); got != "yes" {
		t.Errorf("complete %s", got)
	}
	if got := img.Job(); !strings.HasPrefix(got, "DONE 1.00") {
		t.Errorf("job %q", got)
	}
	digest := img.Digest()
	if len(digest) != 64 {
		t.Errorf("digest %q", digest)
	}
	if err := os.Remove(filepath.Join(h.sources, "web")); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	img = h.image("web")
	disk := mustOpen(t, img)
	if got := content(t, disk); got != long("x") {
		t.Error("the disk reads as something else")
	}
	if err := disk.Close(); err != nil {
		t.Error(err)
	}
	if img.Digest() != digest {
		t.Error("another digest after the restart")
	}
	if err := img.Do(t.Context(), command.Call{Line: "evict"}); !errors.Is(err, iofs.ErrNotExist) || !strings.Contains(err.Error(), "cannot give again") {
		t.Errorf("evict without a source: %v", err)
	}
	if value(t, img.Status(), "complete") != "yes" {
		t.Error("a refused evict dropped something")
	}
	// The same content by another way is the same digest.
	other := h.register("other", long("x"))
	h.work(other, "hydrate")
	if other.Digest() != digest {
		t.Error("the same bytes have another digest")
	}
}

func TestLoadModes(t *testing.T) {
	h := newHouse(t)
	full := h.register("full", long("f"), "load=full")
	if err := h.finish(full); err != nil {
		t.Fatal(err)
	}
	if got := value(t, full.Status(), "complete"); got != "yes" {
		t.Errorf("load=full: complete %s", got)
	}
	none := h.register("none", long("n"), "load=none")
	disk := mustOpen(t, none)
	if content(t, disk) != long("n") {
		t.Error("load=none reads as something else")
	}
	disk.Close()
	for _, verb := range []string{"hydrate", "prefetch", "evict", "verify"} {
		if err := none.Do(t.Context(), command.Call{Line: verb}); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "load=none") {
			t.Errorf("%s of an image that is not kept: %v", verb, err)
		}
	}
	if err := h.Do(t.Context(), command.Call{Line: "register x /x load=some"}); !errors.Is(err, iofs.ErrInvalid) || !strings.Contains(err.Error(), "lazy, full or none") {
		t.Errorf("load=some: %v", err)
	}
	if disks, _ := h.store.Disks(); len(disks) != 1 {
		t.Errorf("disks %v in the store, want one", disks)
	}
}

func TestPrefetch(t *testing.T) {
	h := newHouse(t)
	img := h.register("web", long("p"))
	for _, words := range []string{"prefetch 1", "prefetch a b", "prefetch -1 5", "prefetch 0 0", "prefetch 0 99999999", "prefetch 9223372036854775807 1"} {
		if err := img.Do(t.Context(), command.Call{Line: words}); !errors.Is(err, iofs.ErrInvalid) {
			t.Errorf("%s: %v", words, err)
		}
	}
	h.work(img, "prefetch", "0", "1")
	if got := value(t, img.Status(), "loaded"); got == "0" {
		t.Error("nothing was loaded")
	}
	h.work(img, "prefetch")
	if got := value(t, img.Status(), "complete"); got != "yes" {
		t.Errorf("complete %s", got)
	}
	h.work(img, "evict")
	if got := value(t, img.Status(), "loaded"); got != "0" {
		t.Errorf("%s bytes are left after evict", got)
	}
	if st, err := h.store.Stats(); err != nil || st.Blocks != 0 {
		t.Errorf("%d blocks are left after evict", st.Blocks)
	}
	disk := mustOpen(t, img)
	defer disk.Close()
	if content(t, disk) != long("p") {
		t.Error("the disk reads as something else after evict")
	}
}

func TestVerifyLoadsDamageAgain(t *testing.T) {
	h := newHouse(t)
	img := h.register("web", long("v"))
	h.work(img, "hydrate")
	damage := func() {
		e, err := h.store.Lookup(img.ID(), 1)
		if err != nil || e.State != blockstore.Data {
			t.Fatal(e, err)
		}
		h.store.(interface{ Damage(blockstore.ID) }).Damage(e.ID)
	}
	damage()
	h.work(img, "verify")
	if value(t, img.Status(), "complete") != "yes" {
		t.Error("the damaged block was not loaded again")
	}
	damage()
	os.Remove(filepath.Join(h.sources, "web"))
	h.reopen() // an open source would still be there
	img = h.image("web")
	h.do(img, "verify")
	if err := h.finish(img); err == nil || !strings.Contains(err.Error(), "cannot be loaded again") {
		t.Errorf("verify without a source: %v", err)
	}
	if !strings.Contains(img.LastError(), "cannot be loaded again") || value(t, img.Status(), "complete") != "no" {
		t.Errorf("error %q, status %s", img.LastError(), img.Status())
	}
}

func TestJobsOfAnImageAreOneAtATime(t *testing.T) {
	h := newHouse(t)
	h.close()
	h.driver.read = func(ctx context.Context, _ int64) error { <-ctx.Done(); return ctx.Err() }
	h.open()
	img := h.register("web", long("j"))
	if err := img.Do(t.Context(), command.Call{Line: "cancel"}); !errors.Is(err, iofs.ErrInvalid) || errors.Is(err, command.ErrBusy) {
		t.Errorf("cancel without a job: %v", err)
	}
	h.do(img, "hydrate")
	for _, verb := range []string{"hydrate", "prefetch", "verify", "evict"} {
		if err := img.Do(t.Context(), command.Call{Line: verb}); !errors.Is(err, command.ErrBusy) || !strings.Contains(err.Error(), "still running") {
			t.Errorf("%s beside a job: %v", verb, err)
		}
	}
	h.do(img, "cancel")
	if err := h.finish(img); !errors.Is(err, job.ErrCancelled) || !strings.HasPrefix(img.Job(), "CANCELLED") {
		t.Errorf("cancelled job: %v, %q", err, img.Job())
	}
	h.close()
	h.driver.read = nil
	h.open()
	if job := h.image("web").Job(); job != "" {
		t.Errorf("after the restart there is the job %q: it was cancelled", job)
	}
	h.work(h.image("web"), "hydrate")
}

func TestHydrationGoesOnAfterARestart(t *testing.T) {
	h := newHouse(t)
	img := h.register("web", long("r"))
	err := h.catalog.Update(func(tx *catalog.Tx) error { // as a kill leaves it
		return tx.ChangeImage(img.id, func(rec *catalog.Image) error { rec.Hydrating = true; return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	h.reopen()
	img = h.image("web")
	if err := h.finish(img); err != nil || value(t, img.Status(), "complete") != "yes" {
		t.Errorf("%v, %s", err, img.Status())
	}
	h.reopen()
	if img = h.image("web"); img.Job() != "" {
		t.Errorf("job %q of what was done", img.Job())
	}
}

func TestDeletedImagesLeaveNothingInTheStore(t *testing.T) {
	h := newHouse(t)
	img := h.register("web", long("d"))
	h.work(img, "hydrate")
	disk := mustOpen(t, img)
	h.do(img, "delete")
	if content(t, disk) != long("d") {
		t.Error("who has the disk open cannot read on")
	}
	if err := disk.Close(); err != nil {
		t.Error(err)
	}
	h.settle()
	if disks, _ := h.store.Disks(); len(disks) != 0 {
		t.Errorf("disks %v are left", disks)
	}
	if err := h.store.Create(77, 1<<20, ""); err != nil { // what a kill between record and disk leaves
		t.Fatal(err)
	}
	h.reopen()
	if disks, _ := h.store.Disks(); len(disks) != 1 {
		t.Errorf("a disk whose record was lost is not kept: %v", disks)
	}
	if err := h.catalog.Provisional(77); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	if disks, _ := h.store.Disks(); len(disks) != 0 {
		t.Errorf("disks %v that were dropped are left", disks)
	}
}

func TestTrimSparesWhatHasNoSource(t *testing.T) {
	h := newHouse(t)
	gone, stands := h.register("gone", long("g")), h.register("stands", long("s"))
	h.work(gone, "prefetch")
	h.work(stands, "prefetch")
	os.Remove(filepath.Join(h.sources, "gone"))
	if err := gone.record().Unchanged(t.Context(), h.cfg.Sources); !errors.Is(err, iofs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.sources, "gone"), []byte("FLATother"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := gone.record().Unchanged(t.Context(), h.cfg.Sources); !errors.Is(err, source.ErrChanged) {
		t.Fatal(err)
	}
	if _, err := h.trim(t.Context()); err != nil {
		t.Error(err)
	}
	disk := mustOpen(t, gone)
	defer disk.Close()
	if content(t, disk) != long("g") {
		t.Error("a complete image reads as something else once its source is another")
	}
}

func TestStoreJobs(t *testing.T) {
	h := newHouse(t)
	img := h.register("web", long("w"))
	h.work(img, "hydrate")
	for _, verb := range []string{"verify", "sweep", "compact"} {
		h.do(h, verb)
		if err := h.jobs.Wait(t.Context()); err != nil || !strings.HasPrefix(h.Job(), "DONE 1.00") {
			t.Errorf("%s: %v, %q", verb, err, h.Job())
		}
	}
	status := h.Status()
	if value(t, status, "store_blocks") == "0" || value(t, status, "save_failures") != "0" {
		t.Errorf("status\n%s", status)
	}
}

func TestRestoreAfterTheDatabaseIsLost(t *testing.T) {
	h := newHouse(t)
	img := h.register("web", long("l"), "os=linux")
	h.work(img, "hydrate")
	digest, note, size, id := img.Digest(), h.noteOf(img.record()), img.Size(), img.ID()
	if err := h.store.Create(40, 5, "no note"); err != nil {
		t.Fatal(err)
	}
	h.close()
	h.dir = t.TempDir()
	db, err := kv.Open(h.dir, kv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	back, err := catalog.Restore(db, []catalog.Found{{Disk: id, Size: size, Note: note}, {Disk: 40, Size: 5, Note: "no note"}}, "")
	if err != nil || len(back.Images) != 2 {
		t.Errorf("restored %+v, %v", back, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	h.open()
	img = h.image("web")
	if img.ID() != id || value(t, img.Status(), "complete") != "yes" || img.Meta()[2].Value != "linux" {
		t.Errorf("status %s", img.Status())
	}
	if _, err := h.Image("disk-40"); err != nil {
		t.Error(err)
	}
	if next := h.register("next", "x"); next.ID() <= 40 {
		t.Errorf("number %d was given again", next.ID())
	}
	if img.Digest() != digest {
		t.Error("another digest")
	}
}

func TestRefresh(t *testing.T) {
	away := func(h *house) {
		h.t.Helper()
		path := filepath.Join(h.sources, "web")
		changed := func() syscall.Timespec {
			st, err := os.Stat(path)
			if err != nil {
				h.t.Fatal(err)
			}
			return st.Sys().(*syscall.Stat_t).Ctim
		}
		was := changed()
		h.eventually("the file's time of change moves", func() bool { // the kernel's clock for it is coarse
			if err := errors.Join(os.Rename(path, path+".away"), os.Rename(path+".away", path)); err != nil {
				h.t.Fatal(err)
			}
			return changed() != was
		})
	}
	t.Run("serves a source again that was moved away and is back", func(t *testing.T) {
		h := newVolumes(t)
		img := h.register("web", long("r"))
		v := h.clone(img, "one")
		h.reopen()
		img, v = h.image("web"), h.volume("one")
		away(h)
		if _, err := img.Open(t.Context()); !errors.Is(err, source.ErrChanged) {
			t.Fatalf("Open = %v", err)
		}
		h.do(img, "refresh")
		d := mustOpen(t, img)
		defer d.Close()
		if content(t, d) != long("r") {
			t.Error("the disk has other bytes")
		}
		h.has(v, long("r"))
	})
	t.Run("refuses a source with other bytes than the store has", func(t *testing.T) {
		h := newHouse(t)
		img := h.register("web", long("r"))
		h.work(img, "prefetch", "0", "65536")
		h.source("web", long("s"))
		if err := img.Do(t.Context(), command.Call{Line: "refresh"}); !errors.Is(err, iofs.ErrInvalid) || !strings.Contains(err.Error(), "other bytes") {
			t.Errorf("refresh = %v", err)
		}
	})
	t.Run("refuses a source of another size", func(t *testing.T) {
		h := newHouse(t)
		img := h.register("web", long("r"))
		h.source("web", "short")
		if err := img.Do(t.Context(), command.Call{Line: "refresh"}); !errors.Is(err, iofs.ErrInvalid) || !strings.Contains(err.Error(), "5 bytes") {
			t.Errorf("refresh = %v", err)
		}
	})
}
