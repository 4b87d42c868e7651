package lifecycle

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lifecycle/pool"
)

// slow is a format for tests whose images want an index: the word SLOW, then the disk's bytes.
type slow struct {
	gate   func(ctx context.Context) error // called by each pass, if not nil
	passes atomic.Int64                    // that were begun
	quick  atomic.Int64                    // reads by an index
}

func (*slow) Name() string { return "slow" }

func (*slow) Probe(ctx context.Context, src formats.Source) (bool, error) {
	b := make([]byte, 4)
	err := src.ReadAt(ctx, b, 0)
	return string(b) == "SLOW", err
}

func (s *slow) Open(_ context.Context, src formats.Source, _ formats.OpenOptions) (formats.Image, error) {
	return &slowImage{flatImage: flatImage{src: src}, slow: s}, nil
}

type slowImage struct {
	flatImage
	slow  *slow
	index atomic.Pointer[formats.Source]
}

func (i *slowImage) Info() formats.Info {
	info := i.flatImage.Info()
	info.Format = i.slow.Name()
	return info
}

const slowIndex = "an index in pieces"

func (*slowImage) IndexSize() int64 { return int64(len(slowIndex)) }

func (i *slowImage) BuildIndex(ctx context.Context, write func(p []byte) error) error {
	i.slow.passes.Add(1)
	if i.slow.gate != nil {
		if err := i.slow.gate(ctx); err != nil {
			return err
		}
	}
	return errors.Join(write([]byte(slowIndex[:5])), write([]byte(slowIndex[5:])))
}

// UseIndex looks at the first byte, a read at them all.
func (i *slowImage) UseIndex(ctx context.Context, src formats.Source) error {
	if b := make([]byte, 1); src.ReadAt(ctx, b, 0) != nil || b[0] != slowIndex[0] {
		return formats.Corrupt("slow", 0, "this is no index")
	}
	i.index.Store(&src)
	return nil
}

func (i *slowImage) UsesIndex() bool { return i.index.Load() != nil }

func (i *slowImage) ReadAt(ctx context.Context, p []byte, off int64) error {
	if src := i.index.Load(); src != nil {
		b := make([]byte, len(slowIndex))
		if err := (*src).ReadAt(ctx, b, 0); err != nil || string(b) != slowIndex {
			i.index.Store(nil)
		} else {
			i.slow.quick.Add(1)
		}
	}
	return i.flatImage.ReadAt(ctx, p, off)
}

// registerSlow makes an image that wants an index.
func (h *house) registerSlow(name, content string, more ...string) *Image {
	h.t.Helper()
	path := h.source(name, content)
	if err := os.WriteFile(path, []byte("SLOW"+content), 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.do(h, append([]string{"register", name, path}, more...)...)
	return h.image(name)
}

func (h *house) index(img *Image) string {
	return filepath.Join(h.dir, "indexes", value(h.t, img.Status(), "id")+".index")
}

// becomes waits until the image's status says that of its index.
func (h *house) becomes(img *Image, want pool.IndexState) {
	h.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 60_000 { // a minute: only a hang takes that
		if value(h.t, img.Status(), "index") == string(want) {
			return
		}
		<-tick.C
	}
	h.t.Fatalf("index %s, want %s: %s", value(h.t, img.Status(), "index"), want, h.log.String())
}

func (h *house) reads(img *Image, want string) {
	h.t.Helper()
	d := mustOpen(h.t, img)
	if got := content(h.t, d); got != want {
		h.t.Errorf("the disk of %s reads as something else", img.Name())
	}
	if err := d.Close(); err != nil {
		h.t.Error(err)
	}
}

func TestIndexIsMadeOnce(t *testing.T) {
	h := newHouse(t)
	gate := make(chan struct{})
	h.slow.gate = func(ctx context.Context) error {
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	img := h.registerSlow("web", long("w"), "load=none")
	if got := value(t, img.Status(), "index"); got != "building" {
		t.Errorf("index %s during the pass", got)
	}
	h.reads(img, long("w"))
	close(gate)
	h.becomes(img, pool.IndexReady)
	h.reads(img, long("w"))
	if h.slow.quick.Load() == 0 {
		t.Error("the index is not used by who reads on")
	}
	h.reopen()
	img = h.image("web")
	if got := value(t, img.Status(), "index"); got != "ready" {
		t.Errorf("index %s after the restart", got)
	}
	h.slow.quick.Store(0)
	h.reads(img, long("w"))
	if n := h.slow.passes.Load(); n != 1 || h.slow.quick.Load() == 0 {
		t.Errorf("%d passes; %d reads by the index after the restart", n, h.slow.quick.Load())
	}
	if flat := h.register("flat", "x"); strings.Contains(flat.Status(), "index") {
		t.Errorf("the status of an image that needs no index: %s", flat.Status())
	}
}

func TestIndexThatWasCutOffIsMadeByTheNextDaemon(t *testing.T) {
	h := newHouse(t)
	h.slow.gate = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	h.registerSlow("web", "content")
	h.close()
	h.slow.gate = nil
	h.open()
	h.becomes(h.image("web"), pool.IndexReady)
}

func TestDamagedIndexIsMadeAgain(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"something else": func(path string) error { return os.WriteFile(path, []byte("zzzzz"), 0o600) },
		"empty":          func(path string) error { return os.Truncate(path, 0) },
		"gone":           os.Remove,
		"in the middle":  func(path string) error { return os.WriteFile(path, []byte("an index in PIECES"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			img := h.registerSlow("web", long("w"), "load=none")
			h.becomes(img, pool.IndexReady)
			path := h.index(img)
			h.close()
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			h.open()
			h.reads(h.image("web"), long("w")) // who finds out what is only seen by reading
			h.reopen()
			img = h.image("web")
			h.becomes(img, pool.IndexReady)
			h.reads(img, long("w"))
			if b, err := os.ReadFile(path); err != nil || string(b) != slowIndex {
				t.Errorf("the index is %q, %v", b, err)
			}
		})
	}
}

func TestIndexGoesWithItsImage(t *testing.T) {
	h := newHouse(t)
	img := h.registerSlow("web", "content")
	h.becomes(img, pool.IndexReady)
	path := h.index(img)
	h.do(img, "rename", "other")
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	h.do(img, "delete")
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after delete: %v", err)
	}
	begun := make(chan struct{})
	h.slow.gate = func(ctx context.Context) error { close(begun); <-ctx.Done(); return ctx.Err() }
	img = h.registerSlow("late", "content")
	<-begun
	h.do(img, "delete") // ends the pass
	h.slow.gate = nil
	last := h.registerSlow("last", "content")
	h.becomes(last, pool.IndexReady)
	dir := filepath.Dir(path)
	for _, name := range []string{"77.index", "7.index.new", "007.index", "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.catalog.Provisional(77); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != filepath.Base(h.index(h.image("last"))) {
		t.Errorf("in the directory are %v, %v", entries, err)
	}
}

func TestIndexThatCannotBeMade(t *testing.T) {
	h := newHouse(t)
	h.slow.gate = func(context.Context) error { return formats.Corrupt("slow", 7, "cut in the middle") }
	img := h.registerSlow("web", "content")
	h.becomes(img, pool.IndexNone)
	if got := value(t, img.Status(), "index_error"); !strings.Contains(got, "cut in the middle") {
		t.Errorf("index_error %s", got)
	}
	h.reads(img, "content")
	if n := h.slow.passes.Load(); n != 1 {
		t.Errorf("%d passes", n)
	}
	if entries, err := os.ReadDir(filepath.Join(h.dir, "indexes")); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestIndexThatFailsIsMadeByALaterOpen: what kept a pass from its end may have gone, as a full disk
// has.
func TestIndexThatFailsIsMadeByALaterOpen(t *testing.T) {
	h := newHouse(t)
	var full atomic.Bool
	full.Store(true)
	h.slow.gate = func(context.Context) error {
		if full.Load() {
			return unix.ENOSPC
		}
		return nil
	}
	img := h.registerSlow("web", "content", "load=none")
	h.becomes(img, pool.IndexNone)
	if got := value(t, img.Status(), "index_error"); !strings.Contains(got, unix.ENOSPC.Error()) {
		t.Errorf("index_error %s", got)
	}
	full.Store(false)
	for i := range pool.MaxIdle { // so many idle disks close this one
		h.register("i"+strconv.Itoa(i), "x")
	}
	h.settle()
	h.reads(img, "content")
	h.becomes(img, pool.IndexReady)
	if strings.Contains(img.Status(), "index_error") {
		t.Errorf("after the second pass: %s", img.Status())
	}
}
