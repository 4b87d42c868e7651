package lifecycle

import (
	"context"
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/blockstore/mem"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/raw"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/job"
)

// liar writes raw disks and reads them as others.
type liar struct{ raw.Driver }

func (liar) Name() string { return "liar" }

func (l liar) Open(ctx context.Context, src formats.Source, opts formats.OpenOptions) (formats.Image, error) {
	img, err := l.Driver.Open(ctx, src, opts)
	return lies{img}, err
}

type lies struct{ formats.Image }

func (l lies) ReadAt(ctx context.Context, p []byte, off int64) error {
	err := l.Image.ReadAt(ctx, p, off)
	if len(p) > 0 {
		p[len(p)/2] ^= 1
	}
	return err
}

// newExporter opens a house that can write, with a directory to write to.
func newExporter(t *testing.T, driver flat) (h *house, dir string) {
	t.Helper()
	h = &house{t: t, dir: t.TempDir(), sources: t.TempDir(), store: mem.New(0), driver: driver, writers: []formats.Driver{raw.Driver{}, liar{}}}
	h.config = func(cfg *Config) { cfg.Mountpoint, cfg.StoreDir = "/nowhere/tree", h.dir }
	h.open()
	t.Cleanup(h.close)
	return h, t.TempDir()
}

// sectors is content of whole sectors: data, zeros, data.
func sectors(letter string) string {
	return strings.Repeat(letter+"0123456789abcde", 100_000) + strings.Repeat("\x00", 3<<20) + strings.Repeat(letter, 7*512)
}

func (h *house) empty(dir string) {
	h.t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		h.t.Errorf("%v, %v is left in the directory", err, entries)
	}
}

func (h *house) holds(path, content string) {
	h.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || string(b) != content {
		h.t.Errorf("%s has %d bytes (%v), which are not the disk's %d", path, len(b), err, len(content))
	}
}

func TestExportWritesTheDisk(t *testing.T) {
	for _, load := range []string{"lazy", "full", "none"} {
		t.Run(load, func(t *testing.T) {
			h, dir := newExporter(t, flat{})
			img := h.register("web", sectors("e"), "load="+load)
			if load == "full" {
				if err := h.finish(img); err != nil {
					t.Fatal(err)
				}
				os.Remove(filepath.Join(h.sources, "web")) // it is not needed any more
			}
			dest := filepath.Join(dir, "web.raw")
			h.work(img, "export", "raw", dest)
			h.holds(dest, sectors("e"))
			if job := img.Job(); job != "DONE 1.00 - export" {
				t.Errorf("job %q", job)
			}
			err := img.Do(t.Context(), command.Call{Line: command.Quote("export", "raw", dest)})
			if !errors.Is(err, iofs.ErrExist) || !strings.Contains(err.Error(), "force=yes") {
				t.Errorf("export to what exists: %v", err)
			}
			if err := os.WriteFile(dest, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			h.work(img, "export", "raw", dest, "force=yes", "verify=no", "preallocation=full")
			h.holds(dest, sectors("e"))
			if entries, _ := os.ReadDir(dir); len(entries) != 1 {
				t.Errorf("%d files are in the directory", len(entries))
			}
			if loaded := value(t, img.Status(), "loaded"); load == "lazy" && loaded != "0" {
				t.Errorf("an export stored %s bytes", loaded)
			}
		})
	}
}

// TestExportReadsPartsFromTheStore: what is absent there comes from the source.
func TestExportReadsPartsFromTheStore(t *testing.T) {
	h, dir := newExporter(t, flat{})
	img := h.register("web", sectors("p"))
	if err := h.store.Save(t.Context(), img.ID(), 1<<16, []byte(sectors("p"))[1<<16:5<<16]); err != nil {
		t.Fatal(err)
	}
	h.work(img, "export", "raw", filepath.Join(dir, "out"))
	h.holds(filepath.Join(dir, "out"), sectors("p"))
}

func TestExportRefuses(t *testing.T) {
	h, dir := newExporter(t, flat{})
	img := h.register("web", sectors("r"))
	odd := h.register("odd", "no whole sector")
	to := filepath.Join(dir, "out")
	link := filepath.Join(h.sources, "link")
	if err := os.Symlink(h.dir, link); err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(h.sources, "web")
	for _, c := range []struct {
		img   *Image
		words string
		kind  error
		says  string
	}{
		{img, "raw", command.ErrUsage, "export FORMAT DEST"},
		{img, "zip " + to, iofs.ErrInvalid, `unknown format "zip": known are flat, slow, raw, liar`},
		{img, "flat " + to, iofs.ErrInvalid, "does not write it"},
		{odd, "raw " + to, iofs.ErrInvalid, "multiple of 512"},
		{img, "raw out", iofs.ErrInvalid, "relative"},
		{img, "raw /nowhere/tree/x", iofs.ErrInvalid, "this tree itself"},
		{img, "raw " + h.dir + "/x", iofs.ErrInvalid, "in the store"},
		{img, "raw " + link + "/x", iofs.ErrInvalid, "in the store"},
		{img, "raw " + dir + "/", iofs.ErrInvalid, "is a directory"},
		{img, "raw " + dir, iofs.ErrInvalid, "not a regular file"},
		{img, "raw " + source + " force=yes", iofs.ErrExist, `what the image "web" is read from`},
		{odd, "raw " + source + " force=yes verify=no", iofs.ErrExist, `what the image "web" is read from`},
		{img, "raw " + to + "/beneath", iofs.ErrNotExist, "no such file"},
		{img, "raw " + to + " colour=red", iofs.ErrInvalid, "known are preallocation; export itself has force, level, space_check, verify"},
		{img, "raw " + to + " preallocation=half", iofs.ErrInvalid, "must be off or full"},
		{img, "raw " + to + " level=3", iofs.ErrInvalid, "not compressed"},
		{img, "raw " + to + " level=much", iofs.ErrInvalid, "level=much: must be a whole number"},
		{img, "raw " + to + " verify=maybe", iofs.ErrInvalid, "yes or no"},
		{img, "raw " + to + " force=no force=yes", command.ErrUsage, "twice"},
		{img, "raw " + to + " word", iofs.ErrInvalid, "KEY=VALUE"},
	} {
		err := c.img.Do(t.Context(), command.Call{Line: "export " + c.words})
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("export %s: %v, want %q", c.words, err, c.says)
		}
		h.empty(dir)
	}
	h.holds(source, "FLAT"+sectors("r"))
}

func TestExportThatFailsLeavesNothing(t *testing.T) {
	broken := func(_ context.Context, off int64) error {
		if off>>20 == 1 { // and nowhere else: workers read several places at once
			return errors.New("the source is broken")
		}
		return nil
	}
	for _, c := range []struct {
		name   string
		driver flat
		words  []string
		says   []string
	}{
		{"source", flat{read: broken}, []string{"raw"}, []string{"reading the disk at 1048576", "the source is broken"}},
		{"verification", flat{}, []string{"liar"}, []string{"reading back what was written to", "its digest is"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, dir := newExporter(t, c.driver)
			img := h.register("web", sectors("f"))
			h.do(img, append([]string{"export", c.words[0], filepath.Join(dir, "out")}, c.words[1:]...)...)
			err := h.finish(img)
			for _, want := range append(c.says, dir+"/out") {
				if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(img.LastError(), want) {
					t.Errorf("export: %v, error %q, want %q", err, img.LastError(), want)
				}
			}
			h.empty(dir)
		})
	}
	h, dir := newExporter(t, flat{})
	img := h.register("web", sectors("f"))
	h.work(img, "export", "liar", filepath.Join(dir, "out"), "verify=no")
	h.holds(filepath.Join(dir, "out"), sectors("f"))
}

// TestExportThatIsEnded: by cancel, by the image's end, and by the registry's, which does not take
// it up again.
func TestExportThatIsEnded(t *testing.T) {
	for name, end := range map[string]func(h *house, img *Image){
		"cancel": func(h *house, img *Image) { h.do(img, "cancel") },
		"delete": func(h *house, img *Image) { h.do(img, "delete") },
		"close":  func(h *house, img *Image) { h.reopen() },
	} {
		t.Run(name, func(t *testing.T) {
			reading := make(chan struct{}, 100)
			h, dir := newExporter(t, flat{read: func(ctx context.Context, _ int64) error {
				reading <- struct{}{}
				<-ctx.Done()
				return ctx.Err()
			}})
			img := h.register("web", sectors("c"))
			h.do(img, "export", "raw", filepath.Join(dir, "out"))
			<-reading
			if err := img.Do(t.Context(), command.Call{Line: "hydrate"}); !errors.Is(err, command.ErrBusy) {
				t.Errorf("hydrate beside an export: %v", err)
			}
			if err := img.Do(t.Context(), command.Call{Line: command.Quote("export", "raw", filepath.Join(dir, "other"))}); !errors.Is(err, command.ErrBusy) {
				t.Errorf("export beside an export: %v", err)
			}
			end(h, img)
			if err := img.jobs.Wait(t.Context()); !errors.Is(err, job.ErrCancelled) {
				t.Errorf("it ended with %v", err)
			}
			h.empty(dir)
			if again, err := h.Image("web"); err == nil && name == "close" && again.Job() != "" {
				t.Errorf("after the restart there is the job %q", again.Job())
			}
		})
	}
}
