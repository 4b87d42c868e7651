package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/blockstore/mem"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/lazyload/index"
	"github.com/imsfs/imsfs/lazyload/source"
	"github.com/imsfs/imsfs/lazyload/source/file"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/pool"
)

// flat is a format for tests: the word FLAT, then the disk's bytes.
type flat struct {
	gate func(ctx context.Context) error            // called by Open, if not nil
	read func(ctx context.Context, off int64) error // called by ReadAt of the disk, if not nil
}

func (flat) Name() string { return "flat" }

func (flat) Probe(ctx context.Context, src formats.Source) (bool, error) {
	b := make([]byte, 4)
	if src.Size() < 4 {
		return false, nil
	}
	err := src.ReadAt(ctx, b, 0)
	return string(b) == "FLAT", err
}

func (f flat) Open(ctx context.Context, src formats.Source, opts formats.OpenOptions) (formats.Image, error) {
	if f.gate != nil {
		if err := f.gate(ctx); err != nil {
			return nil, err
		}
	}
	if src.Size() <= 4 {
		return nil, formats.Corrupt("flat", 0, "there is\n nothing behind the word")
	}
	return flatImage{src, f.read}, nil
}

type flatImage struct {
	src  formats.Source
	read func(ctx context.Context, off int64) error
}

func (i flatImage) Info() formats.Info {
	n := i.src.Size() - 4
	return formats.Info{Format: "flat", Size: n, ClusterSize: 4096, Allocated: n}
}

func (i flatImage) Extent(_ context.Context, off, n int64) (formats.Extent, error) {
	return formats.Extent{Off: off, Len: n, State: formats.Data}, nil
}

func (i flatImage) ReadAt(ctx context.Context, p []byte, off int64) error {
	if i.read != nil {
		if err := i.read(ctx, off); err != nil {
			return err
		}
	}
	return i.src.ReadAt(ctx, p, off+4)
}

// files opens files.
func files() source.Opener { return source.Opener{Kinds: []source.Kind{file.Kind{}}} }

// house is a registry with all it stands on.
type house struct {
	*Registry
	t       testing.TB
	dir     string // the store's
	driver  flat
	slow    *slow
	writers []formats.Driver
	config  func(*Config) // changes what the registry works with, if not nil
	log     syncBuffer
	db      *kv.DB
	store   blockstore.Store // kept through reopen
	loader  *lazyload.Loader
	sources string // a directory
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newHouse opens a registry in a new store; it is closed when the test ends.
func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), sources: t.TempDir(), store: mem.New(0), slow: &slow{}}
	h.open()
	t.Cleanup(h.close)
	return h
}

func (h *house) open() {
	h.t.Helper()
	var err error
	if h.db, err = kv.Open(h.dir, kv.Options{}); err != nil {
		h.t.Fatal(err)
	}
	h.loader = lazyload.New(lazyload.Config{CacheSize: 1 << 20, Store: h.store})
	indexes, err := index.Open(filepath.Join(h.dir, "indexes"))
	if err != nil {
		h.t.Fatal(err)
	}
	cfg := Config{
		Formats: formats.Set{Drivers: append([]formats.Driver{h.driver, h.slow}, h.writers...)},
		Sources: files(),
		Loader:  h.loader,
		Store:   h.store,
		Indexes: indexes,
		Log:     slog.New(slog.NewTextHandler(&h.log, nil)),
	}
	if h.config != nil {
		h.config(&cfg)
	}
	h.Registry, err = Open(h.t.Context(), h.db, cfg)
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) close() {
	h.t.Helper()
	if h.Registry == nil {
		return
	}
	for _, err := range []error{h.Registry.Close(), h.loader.Close(), h.db.Close()} {
		if err != nil {
			h.t.Error(err)
		}
	}
	h.Registry = nil
}

// reopen is a restart of the daemon.
func (h *house) reopen() {
	h.t.Helper()
	h.close()
	h.open()
}

// source makes a file of the test format and returns its path.
func (h *house) source(name, content string) string {
	h.t.Helper()
	path := filepath.Join(h.sources, name)
	if err := os.WriteFile(path, []byte("FLAT"+content), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// register makes an image whose disk has the given content.
func (h *house) register(name, content string, more ...string) *Image {
	h.t.Helper()
	h.do(h, append([]string{"register", name, h.source(name, content)}, more...)...)
	return h.image(name)
}

type doer interface {
	Do(ctx context.Context, call command.Call) error
}

func (h *house) do(target doer, words ...string) {
	h.t.Helper()
	if err := target.Do(h.t.Context(), command.Call{Line: command.Quote(words...)}); err != nil {
		h.t.Fatalf("%s: %v", command.Quote(words...), err)
	}
}

func (h *house) image(name string) *Image {
	h.t.Helper()
	img, err := h.Image(name)
	if err != nil {
		h.t.Fatal(err)
	}
	return img
}

// records counts the images in the database.
func (h *house) records() int {
	h.t.Helper()
	c, err := catalog.Open(h.t.Context(), h.db, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return len(c.Images())
}

// putRecord enters an image's record as an earlier daemon left it; the registry is closed.
func (h *house) putRecord(rec catalog.Image) {
	h.t.Helper()
	db, err := kv.Open(h.dir, kv.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	c, err := catalog.Open(h.t.Context(), db, nil)
	if err == nil {
		err = c.Update(func(tx *catalog.Tx) error { return tx.AddImage(rec) })
	}
	if err := errors.Join(err, db.Close()); err != nil {
		h.t.Fatal(err)
	}
}

// settle waits for the work that goes on in the background.
func (h *house) settle() {
	h.t.Helper()
	h.eventually("the background is idle", func() bool { return h.runner.Busy() == 0 })
}

// eventually waits for a condition that background work makes true.
func (h *house) eventually(what string, holds func() bool) {
	h.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 60_000 { // a minute: only a hang takes that
		if holds() {
			return
		}
		<-tick.C
	}
	h.t.Fatalf("%s: not within a minute", what)
}

func mustOpen(t testing.TB, img *Image) *pool.Handle {
	t.Helper()
	h, err := img.Open(t.Context())
	if err != nil {
		t.Fatalf("Open(%s): %v", img.Name(), err)
	}
	return h
}

// content reads a whole disk.
func content(t testing.TB, h *pool.Handle) string {
	t.Helper()
	p := make([]byte, h.Size())
	if n, err := h.ReadAt(t.Context(), p, 0); n != len(p) || err != nil && err != io.EOF {
		t.Fatalf("ReadAt = %d, %v of %d", n, err, len(p))
	}
	return string(p)
}

// value finds a key in a status.
func value(t testing.TB, status, key string) string {
	t.Helper()
	for line := range strings.Lines(status) {
		if v, ok := strings.CutPrefix(line, key+" "); ok {
			return strings.TrimSuffix(v, "\n")
		}
	}
	return fmt.Sprintf("(no %s)", key)
}
