package lifecycle

import (
	"fmt"
	"testing"

	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/lifecycle/catalog"
)

// BenchmarkOpenTenThousand opens a registry of 10,000 images.
func BenchmarkOpenTenThousand(b *testing.B) {
	dir, deltas := b.TempDir(), b.TempDir()
	db, err := kv.Open(dir, kv.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	c, err := catalog.Open(b.Context(), db, nil)
	if err != nil {
		b.Fatal(err)
	}
	for n := 0; n < 10_000; n += 100 { // as many as one transaction takes
		err := c.Update(func(tx *catalog.Tx) error {
			for k := range 100 {
				id, err := c.Next()
				if err != nil {
					return err
				}
				rec := catalog.Image{ID: id, Name: fmt.Sprintf("image-%d", n+k), State: catalog.Active, Disk: catalog.Disk{Size: 1 << 30}}
				if err := tx.AddImage(rec); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		loader := lazyload.New(lazyload.Config{})
		r, err := Open(b.Context(), db, Config{Sources: files(), Loader: loader, Volumes: deltas})
		if err != nil {
			b.Fatal(err)
		}
		if n := len(r.Images()); n != 10_000 {
			b.Fatalf("%d images", n)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
		if err := loader.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
