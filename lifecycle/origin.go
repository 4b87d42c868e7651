package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/source"
)

// origin is where an image's bytes come from, opened when they are first needed: a disk that is complete in the store never
// does, and its source may be gone.
type origin struct {
	formats formats.Set
	path    string
	format  string // "" is told by content
	// expect, unless nil, must be what is found: the source may change between a look and the opening, and what a driver
	// finds in it may change with the program.
	expect *record

	mu  sync.Mutex // guards src, and is held while the source is opened
	src *source.File
	img formats.Image
}

// open returns the image. It is opened once; a failure is tried again by the next call.
func (o *origin) open(ctx context.Context) (formats.Image, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.img != nil {
		return o.img, nil
	}
	src, err := source.Open(ctx, o.path)
	if err != nil {
		return nil, err
	}
	img, err := o.formats.Open(ctx, src, o.format, formats.OpenOptions{})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", o.path, err), src.Close())
	}
	if err := o.verify(src, img); err != nil {
		return nil, errors.Join(err, src.Close())
	}
	o.src, o.img = src, img
	return img, nil
}

func (o *origin) verify(src *source.File, img formats.Image) error {
	if o.expect == nil {
		return nil
	}
	if err := o.expect.Identity.Changed(o.path, src.Identity()); err != nil {
		return err
	}
	if size := img.Info().Size; size != o.expect.Size {
		return fmt.Errorf("%s: a disk of %d bytes, which was registered with %d: %w", o.path, size, o.expect.Size, source.ErrChanged)
	}
	return nil
}

// identity is that of the open source.
func (o *origin) identity() source.Identity {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.src.Identity()
}

// close gives the source back, if it was opened. No read of the image may be running.
func (o *origin) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.src == nil {
		return nil
	}
	src := o.src
	o.src, o.img = nil, nil
	return src.Close()
}

// stands tells whether the source of an image is still what was registered: nil, or what is wrong.
func (rec record) stands(ctx context.Context) error {
	now, err := source.Identify(ctx, rec.Source)
	if err != nil {
		return err
	}
	return rec.Identity.Changed(rec.Source, now)
}
