package lazyload

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/cache"
)

// Disk is an open image as a raw disk. It is safe for concurrent use.
type Disk struct {
	loader  *Loader
	img     formats.Image
	id      uint64 // never used twice by a Loader
	size    int64
	cluster int64

	// Loads run under ctx, not under a reader's: one reader's end must not fail the others.
	ctx    context.Context
	cancel context.CancelFunc
	loads  sync.WaitGroup

	ahead ahead
}

// Size is the virtual size in bytes.
func (d *Disk) Size() int64 { return d.size }

// Info tells what the image is.
func (d *Disk) Info() formats.Info { return d.img.Info() }

// Extent is formats.Image's.
func (d *Disk) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	return d.img.Extent(ctx, off, n)
}

// ReadAt fills p with the bytes at off; at the disk's end it is short and returns io.EOF, as io.ReaderAt has it.
func (d *Disk) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	v, err := d.View(ctx, p, off)
	if err != nil {
		return 0, err
	}
	defer v.Release()
	n := 0
	for _, s := range v.Slices {
		n += copy(p[n:], s) // plain data was read into p itself: copied onto itself
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Close ends the disk's loads and forgets its clusters. No read may be running and no view be held.
func (d *Disk) Close() {
	d.cancel()
	d.loads.Wait()
	d.loader.cache.Drop(d.id)
}

// decoder is the disk as the cache sees it. Whoever hands it to the cache has added one to loads.
type decoder Disk

var _ cache.Decoder = (*decoder)(nil)

func (d *decoder) Decode(dst []byte, off int64) error {
	if err := d.ctx.Err(); err != nil {
		return err // closed while the load waited for its turn
	}
	if err := d.img.ReadAt(d.ctx, dst, off); err != nil {
		return fmt.Errorf("cluster at %#x: %w", off, err)
	}
	return nil
}

func (d *decoder) Done() { d.loads.Done() }

// get returns the decoded cluster at off, which is compressed data.
func (d *Disk) get(ctx context.Context, off int64) (b *cache.Buffer, led bool, err error) {
	d.loads.Add(1)
	b, led, err = d.loader.cache.Get(ctx, cache.Key{Disk: d.id, Off: off}, d.clusterLen(off), (*decoder)(d))
	if !led {
		d.loads.Done()
	}
	return b, led, err
}

// clusterLen is the size of the cluster at off: the last one ends with the disk.
func (d *Disk) clusterLen(off int64) int { return int(min(d.cluster, d.size-off)) }
