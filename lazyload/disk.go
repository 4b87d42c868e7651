package lazyload

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/cache"
)

// Disk is an open image as a raw disk. It is safe for concurrent use.
type Disk struct {
	loader *Loader
	id     uint64 // never used twice by a Loader
	size   int64
	unit   int64 // bytes that are loaded at once: a cluster, or a block if that is larger
	image  imageSlot
	stored *stored // nil if the disk is read through

	// Loads run under ctx and not under a reader's ctx, so that the end of one reader does not fail
	// the others.
	ctx    context.Context
	cancel context.CancelFunc
	loads  sync.WaitGroup // loads and savings

	ahead ahead
}

// Size returns the virtual size in bytes.
func (d *Disk) Size() int64 { return d.size }

// ReadAt reads as io.ReaderAt does: at the disk's end it returns fewer bytes and io.EOF.
func (d *Disk) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	v, err := d.View(ctx, p, off)
	if err != nil {
		return 0, err
	}
	defer v.Release()
	n := 0
	for _, s := range v.Slices {
		n += copy(p[n:], s) // plain data was read into p already: copied onto itself
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Close ends the disk's loads, waits until loaded units are saved, and forgets its clusters. No
// read may be running and all views must have been released.
func (d *Disk) Close() {
	d.loader.saver.hurry(func() {
		d.cancel()
		d.loads.Wait()
	})
	d.loader.cache.Drop(d.id)
}

// imageSlot holds a disk's image and opens it when it is first needed.
type imageSlot struct {
	open Opener
	turn chan struct{} // has a token while a caller opens the image
	img  atomic.Pointer[formats.Image]
}

func newImageSlot(open Opener) imageSlot {
	return imageSlot{open: open, turn: make(chan struct{}, 1)}
}

// get returns the image, opened by this call if necessary. After a failure the next call tries
// again.
func (s *imageSlot) get(ctx context.Context) (formats.Image, error) {
	if img := s.opened(); img != nil {
		return img, nil
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if img := s.opened(); img != nil {
		return img, nil
	}
	img, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	s.img.Store(&img)
	return img, nil
}

// opened returns the image, or nil if it is not open.
func (s *imageSlot) opened() formats.Image {
	if img := s.img.Load(); img != nil {
		return *img
	}
	return nil
}

// decoder is the disk as the cache sees it. A caller that passes it to the cache must add 1 to
// loads first.
type decoder Disk

var _ cache.Decoder = (*decoder)(nil)

// Decode reads one unit of the image.
func (d *decoder) Decode(dst []byte, off int64) error {
	if err := d.ctx.Err(); err != nil {
		return err // closed while the load waited for its turn
	}
	img, err := d.image.get(d.ctx)
	if err != nil {
		return err
	}
	if err := img.ReadAt(d.ctx, dst, off); err != nil {
		return fmt.Errorf("cluster at %#x: %w", off, err)
	}
	return nil
}

// Done offers the loaded unit to the saver.
func (d *decoder) Done(off int64, err error) {
	defer d.loads.Done()
	if err == nil && d.stored != nil {
		d.loader.saver.offer((*Disk)(d), off)
	}
}

// get returns the decoded unit at off. led reports whether this call started its load.
func (d *Disk) get(ctx context.Context, off int64) (b *cache.Buffer, led bool, err error) {
	d.loads.Add(1)
	b, led, err = d.loader.cache.Get(ctx, cache.Key{Disk: d.id, Off: off}, d.unitLen(off), (*decoder)(d))
	if !led {
		d.loads.Done()
		return b, led, err
	}
	d.loader.saver.demand.Add(1)
	return b, led, err
}

// unitLen returns the size of the unit at off. The disk's last unit may be shorter.
func (d *Disk) unitLen(off int64) int { return int(min(d.unit, d.size-off)) }
