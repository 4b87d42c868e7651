package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/chain"
	"github.com/imsfs/imsfs/lazyload/source"
	"github.com/imsfs/imsfs/lifecycle/catalog"
)

// origin is where a disk's bytes come from: its source with the backing images, opened when they
// are first needed. A disk that is complete in the store never needs them.
type origin struct {
	id   uint64 // of the disk
	pool *Pool
	path string
	cfg  chain.Config
	// expect, unless nil, must match the source, because it may change between a look and the
	// opening, and a newer driver may find something else in it.
	expect *catalog.Base

	mu    sync.Mutex // guards the following, and is held while they are opened
	chain *chain.Chain
	index io.Closer // of an image that needs one; nil if there is none
}

// open returns the image. It is opened once; after a failure the next call tries again.
func (o *origin) open(ctx context.Context) (formats.Image, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.chain != nil {
		return o.chain, nil
	}
	c, err := chain.Open(ctx, o.path, o.cfg)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(ctx.Err(), o.verify(c)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	o.attach(ctx, c)
	o.chain = c
	return c, nil
}

// verify compares a chain with the registered one.
func (o *origin) verify(c *chain.Chain) error {
	if o.expect == nil {
		return nil
	}
	now := c.Files()
	for i, f := range o.expect.Files() {
		if i >= len(now) || now[i].Path != f.Path {
			return fmt.Errorf("%s: %w: it is made of other files", o.path, source.ErrChanged)
		}
		if err := f.Identity.Changed(f.Path, now[i].Identity); err != nil {
			return err
		}
	}
	if size, want := c.Info().Size, o.expect.DiskSize(o.expect.Size); size != want {
		return fmt.Errorf("%s: a disk of %d bytes, which was registered with %d: %w", o.path, size, want, source.ErrChanged)
	}
	return nil
}

// close gives the source back, if it was opened. No read of the image may be running.
func (o *origin) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.chain == nil {
		return nil
	}
	err := o.detach()
	c := o.chain
	o.chain = nil
	return errors.Join(err, c.Close())
}

// indexed returns the layer of a chain that needs an index, nil if none does. Only the last can: an
// image with a backing image has tables.
func indexed(c *chain.Chain) formats.Indexed {
	layers := c.Layers()
	ix, _ := layers[len(layers)-1].(formats.Indexed)
	return ix
}

// attach makes a chain that was just opened use its index. A failure harms no read.
func (o *origin) attach(ctx context.Context, c *chain.Chain) {
	ix, indexes := indexed(c), o.pool.indexes
	if ix == nil || indexes.dir == nil {
		return
	}
	var err error
	o.index, err = indexes.dir.Use(ctx, o.id, ix)
	indexes.attached(o.id, o.expect, err)
}

// detach gives the index back, and removes one that reads gave up; the caller holds mu.
func (o *origin) detach() error {
	if o.index == nil {
		return nil
	}
	err := o.index.Close()
	o.index = nil
	if !indexed(o.chain).UsesIndex() {
		indexes := o.pool.indexes
		err = errors.Join(err, indexes.dir.Remove(o.id))
		indexes.attached(o.id, o.expect, errDamagedIndex)
	}
	return err
}

// makeIndex makes the index of an origin, and uses it, unless it has one.
func (o *origin) makeIndex(ctx context.Context) error {
	if _, err := o.open(ctx); err != nil {
		return err
	}
	o.mu.Lock()
	c, have := o.chain, o.index != nil
	o.mu.Unlock()
	ix, dir := indexed(c), o.pool.indexes.dir
	if have || ix == nil {
		return nil
	}
	if err := dir.Make(ctx, o.id, ix); err != nil {
		return err
	}
	f, err := dir.Use(ctx, o.id, ix)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.index = f
	return err
}
