package lifecycle

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/blockstore/packs"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/raw"
	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// bench is a registry on a real store for measurements.
type bench struct {
	house
	packs *packs.Store
}

func newBench(b *testing.B) *bench {
	b.Helper()
	h := &bench{house: house{t: b, dir: b.TempDir(), sources: b.TempDir()}}
	var err error
	if h.db, err = kv.Open(h.dir, kv.Options{}); err != nil {
		b.Fatal(err)
	}
	if h.packs, err = packs.Open(h.dir, h.db, packs.Options{}); err != nil {
		b.Fatal(err)
	}
	h.store = h.packs
	h.loader = lazyload.New(lazyload.Config{Store: h.store})
	h.Registry, err = Open(b.Context(), h.db, Config{
		Formats: formats.Set{Fallback: raw.Driver{}}, Sources: files(), Loader: h.loader, Store: h.store, Volumes: filepath.Join(h.dir, "volumes"),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		for _, err := range []error{h.Registry.Close(), h.loader.Close(), h.packs.Close(), h.db.Close()} {
			if err != nil {
				b.Error(err)
			}
		}
	})
	return h
}

// sparse registers a file of size bytes that is one hole.
func (h *bench) sparse(name string, size int64) *Image {
	h.t.Helper()
	path := filepath.Join(h.sources, name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		h.t.Fatal(err)
	}
	h.do(h, "register", name, path)
	return h.image(name)
}

// BenchmarkClone is the command, from the line to its being acknowledged.
func BenchmarkClone(b *testing.B) {
	for _, c := range []struct {
		name string
		size int64
		load bool
	}{{"1TiB", 1 << 40, false}, {"64GiB-hydrated", 64 << 30, true}, {"1TiB-hydrated", 1 << 40, true}} {
		b.Run(c.name, func(b *testing.B) {
			h := newBench(b)
			img := h.sparse("web", c.size)
			if c.load {
				h.work(img, "hydrate")
			}
			n := 0
			for b.Loop() {
				n++
				h.do(img, "clone", fmt.Sprintf("v-%d", n))
			}
		})
	}
}

// BenchmarkCommit is the job, of 256 MiB that were changed.
func BenchmarkCommit(b *testing.B) {
	const changed = 256 << 20
	for _, c := range []struct {
		name string
		size int64
		load bool
	}{{"1GiB", 1 << 30, false}, {"1TiB", 1 << 40, false}, {"1TiB-hydrated", 1 << 40, true}} {
		b.Run(c.name, func(b *testing.B) {
			h := newBench(b)
			img := h.sparse("web", c.size)
			if c.load {
				h.work(img, "hydrate")
			}
			v := h.clone(img, "one")
			b.SetBytes(changed)
			for n := range b.N {
				b.StopTimer()
				d, err := v.OpenWriter(b.Context(), command.Process{PID: 1})
				if err != nil {
					b.Fatal(err)
				}
				rnd, p := rand.NewChaCha8([32]byte{byte(n)}), make([]byte, 1<<20)
				for off := int64(0); off < changed; off += int64(len(p)) {
					rnd.Read(p)
					if _, err := d.WriteAt(b.Context(), p, off*3/2); err != nil {
						b.Fatal(err)
					}
				}
				if err := errors.Join(d.Flush(), d.Close()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				h.do(v, "commit", fmt.Sprintf("image-%d", n))
				if err := v.jobs.Wait(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
