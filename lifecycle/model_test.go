package lifecycle

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/blockstore/packs"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/raw"
	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// modelSteps is how many random steps one run of the model test makes.
func modelSteps() int {
	if testing.Short() {
		return 2_500
	}
	return 10_000
}

// world is a registry on a real store, beside flat bytes of what each image must read as.
type world struct {
	*Registry
	t       *testing.T
	rng     *rand.Rand
	dir     string
	sources string
	pool    [][]byte // blocks that images are made of, so that they share some

	db     *kv.DB
	store  *packs.Store
	loader *lazyload.Loader

	disks   map[string][]byte // by image
	orphans map[string]bool   // images whose source was removed once they were complete
	made    int
}

// TestModel registers, reads, evicts, hydrates, prefetches, deletes, sweeps, compacts, verifies and
// restarts at random and compares every byte that is read with flat bytes.
func TestModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir(), sources: t.TempDir(), disks: map[string][]byte{}, orphans: map[string]bool{}}
	for n := range 60 {
		block := make([]byte, blockstore.BlockSize)
		if n > 5 { // the first are zeros
			rand.NewChaCha8([32]byte{byte(n)}).Read(block[:1000*n])
		}
		w.pool = append(w.pool, block)
	}
	w.open()
	defer func() { w.close() }()
	for step := range modelSteps() {
		if err := w.step(); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
	}
	for name := range w.disks {
		if err := w.read(name, 0, len(w.disks[name])); err != nil {
			t.Error(err)
		}
	}
}

func (w *world) open() {
	w.t.Helper()
	var err error
	if w.db, err = kv.Open(w.dir, kv.Options{}); err != nil {
		w.t.Fatal(err)
	}
	if w.store, err = packs.Open(w.dir, w.db, packs.Options{Limit: 24 << 20, PackSize: 4 << 20}); err != nil {
		w.t.Fatal(err)
	}
	w.loader = lazyload.New(lazyload.Config{CacheSize: 4 << 20, Store: w.store})
	w.Registry, err = Open(w.t.Context(), w.db, Config{
		Formats: formats.Set{Fallback: raw.Driver{}}, Sources: files(), Loader: w.loader, Store: w.store, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) close() {
	w.t.Helper()
	for _, err := range []error{w.Registry.Close(), w.loader.Close(), w.store.Close(), w.db.Close()} {
		if err != nil {
			w.t.Error(err)
		}
	}
}

func (w *world) step() error {
	name := w.any()
	switch n := w.rng.IntN(1000); {
	case name == "" || n < 20 && len(w.disks) < 12:
		return w.register()
	case n < 860:
		off := w.rng.IntN(len(w.disks[name]))
		return w.read(name, off, min(1+w.rng.IntN(200<<10), len(w.disks[name])-off))
	case n < 890:
		return w.job(name, "hydrate")
	case n < 920:
		off := w.rng.IntN(len(w.disks[name]))
		return w.job(name, fmt.Sprintf("prefetch %d %d", off, 1+w.rng.IntN(len(w.disks[name])-off)))
	case n < 940:
		if w.orphans[name] {
			return nil
		}
		return w.job(name, "evict")
	case n < 955:
		return w.job(name, "verify")
	case n < 970:
		delete(w.disks, name)
		delete(w.orphans, name)
		img, err := w.Image(name)
		if err != nil {
			return err
		}
		return img.Do(w.t.Context(), command.Call{Line: "delete"})
	case n < 976:
		return w.orphan(name)
	case n < 990:
		_, err := w.store.Sweep(w.t.Context())
		return err
	case n < 996:
		_, err := w.store.Compact(w.t.Context())
		return err
	}
	w.close()
	w.open()
	return nil
}

func (w *world) any() string {
	for name := range w.disks { // Go's own order is random, but not by our seed: take the smallest behind a random one
		pick := fmt.Sprintf("image-%d", w.rng.IntN(w.made+1))
		if _, ok := w.disks[pick]; ok {
			return pick
		}
		for other := range w.disks {
			name = min(name, other)
		}
		return name
	}
	return ""
}

func (w *world) register() error {
	w.made++
	name := fmt.Sprintf("image-%d", w.made)
	var content []byte
	for range 1 + w.rng.IntN(20) {
		content = append(content, w.pool[w.rng.IntN(len(w.pool))]...)
	}
	content = content[:len(content)-w.rng.IntN(100)*512]
	path := filepath.Join(w.sources, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return err
	}
	mode := []catalog.LoadMode{catalog.Lazy, catalog.Lazy, catalog.Lazy, catalog.Full, catalog.None}[w.rng.IntN(5)]
	w.disks[name] = content
	if err := w.Do(w.t.Context(), command.Call{Line: command.Quote("register", name, path, "load="+string(mode))}); err != nil || mode != catalog.Full {
		return err
	}
	return w.await(name, "hydrate")
}

func (w *world) read(name string, off, n int) error {
	img, err := w.Image(name)
	if err != nil {
		return err
	}
	disk, err := img.Open(w.t.Context())
	if err != nil {
		return err
	}
	p := make([]byte, n)
	_, err = disk.ReadAt(w.t.Context(), p, int64(off))
	if err == nil && !bytes.Equal(p, w.disks[name][off:off+n]) {
		err = errors.New("other bytes")
	}
	if err = errors.Join(err, disk.Close()); err != nil {
		return fmt.Errorf("read of %s at %d, +%d: %w", name, off, n, err)
	}
	return nil
}

func (w *world) job(name, line string) error {
	img, err := w.Image(name)
	if err != nil || !img.record().Stored() {
		return err
	}
	if err := img.Do(w.t.Context(), command.Call{Line: line}); err != nil {
		return fmt.Errorf("%s of %s: %w", line, name, err)
	}
	return w.await(name, line)
}

func (w *world) await(name, line string) error {
	img, err := w.Image(name)
	if err != nil {
		return err
	}
	if err := img.jobs.Wait(w.t.Context()); err != nil {
		return fmt.Errorf("%s of %s: %w", line, name, err)
	}
	return nil
}

// orphan hydrates an image and takes its source away.
func (w *world) orphan(name string) error {
	img, err := w.Image(name)
	if err != nil || !img.record().Stored() {
		return err
	}
	if !w.orphans[name] {
		if err := w.job(name, "hydrate"); err != nil {
			return err
		}
		w.orphans[name] = true
		return os.Remove(filepath.Join(w.sources, name))
	}
	return nil
}
