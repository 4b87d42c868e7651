package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/chain"
	"github.com/imsfs/imsfs/lazyload/source"
)

// origin is where an image's bytes come from, its backing images included, opened when they are first needed: a disk that is
// complete in the store never does, and its source may be gone.
type origin struct {
	id   uint64 // the image's
	pool *pool
	path string
	cfg  chain.Config
	// expect, unless nil, must be what is found: the source may change between a look and the opening, and what a driver
	// finds in it may change with the program.
	expect *record

	mu    sync.Mutex // guards the following, and is held while they are opened
	chain *chain.Chain
	index io.Closer // of an image that wants one; nil if there is none
}

// open returns the image. It is opened once; a failure is tried again by the next call.
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

func (o *origin) verify(c *chain.Chain) error {
	if o.expect == nil {
		return nil
	}
	now := c.Files()
	for i, f := range o.expect.files() {
		if i >= len(now) || now[i].Path != f.Path {
			return fmt.Errorf("%s: %w: it is made of other files", o.path, source.ErrChanged)
		}
		if err := f.Identity.Changed(f.Path, now[i].Identity); err != nil {
			return err
		}
	}
	if size, want := c.Info().Size, o.expect.sourceSize(); size != want {
		return fmt.Errorf("%s: a disk of %d bytes, which was registered with %d: %w", o.path, size, want, source.ErrChanged)
	}
	return nil
}

func (rec record) sourceSize() int64 {
	if rec.SourceSize > 0 {
		return rec.SourceSize
	}
	return rec.Size
}

// files lists what the open image is read from.
func (o *origin) files() []chain.File {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.chain.Files()
}

// mapNote tells of the map beside a raw image.
func (o *origin) mapNote() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.chain.Sources()[0].MapNote()
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

// files lists what the image is read from, as it was when it was registered, the source itself in front.
func (rec record) files() []chain.File {
	return append([]chain.File{{Path: rec.Source, Identity: rec.Identity}}, rec.Beside...)
}

// stands tells whether the source of an image is still what was registered: nil, or what is wrong.
func (rec record) stands(ctx context.Context, sources source.Opener) error {
	if rec.Source == "" {
		return refuse(errors.ErrUnsupported, "it was committed, and has no source")
	}
	for _, f := range rec.files() {
		if err := f.Unchanged(ctx, sources); err != nil {
			return err
		}
	}
	return nil
}
