package lazyload

import (
	"context"
	"errors"
	"fmt"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/formats"
)

// below corrects an image by the block map, so that each unit read from it can be cached and saved
// as a whole. A lost block is taken from the image only if the image's bytes have the lost block's
// ID. For a committed disk the image holds old data: blocks in the store replace it.
type below struct {
	formats.Image
	stored *stored
	size   int64       // the disk's
	healed func(error) // called with an error if a block that was lost could not be saved again
}

var _ formats.Image = (*below)(nil)

// errOther is the error of a lost block whose bytes in the image are different ones.
var errOther = errors.New("it is lost, and the source has other bytes there")

func (b *below) ReadAt(ctx context.Context, p []byte, off int64) error {
	if b.untouched() {
		return b.Image.ReadAt(ctx, p, off)
	}
	var pos, own int64 // p[own:pos] is the run of bytes to read from the image
	for s := range pieces(off, int64(len(p)), blockstore.BlockSize) {
		e, err := b.stored.store.Lookup(b.stored.disk, s.unit/blockstore.BlockSize)
		if err != nil {
			return err
		}
		if e.State == blockstore.Absent || e.State != blockstore.Lost && !b.stored.changed {
			pos += s.n
			continue
		}
		if err := b.own(ctx, p[own:pos], off+own); err != nil {
			return err
		}
		if err := b.block(ctx, e, p[pos:][:s.n], s); err != nil {
			return err
		}
		pos += s.n
		own = pos
	}
	return b.own(ctx, p[own:], off+own)
}

// untouched reports whether all of the image's bytes are the disk's.
func (b *below) untouched() bool { return !b.stored.changed && !b.stored.store.AnyLost() }

// own reads bytes that the image has.
func (b *below) own(ctx context.Context, p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	return b.Image.ReadAt(ctx, p, off)
}

// block reads a part of a block that is not absent.
func (b *below) block(ctx context.Context, e blockstore.Entry, p []byte, s piece) error {
	switch e.State {
	case blockstore.Zero:
		clear(p)
		return nil
	case blockstore.Lost:
		return b.lost(ctx, e.ID, p, s)
	}
	err := b.stored.read(ctx, e.ID, p, s)
	if !isLost(err) {
		return err
	}
	return b.insteadOf(ctx, err, e.ID, p, s)
}

// isLost reports whether err means that the store cannot return the block any more.
func isLost(err error) bool {
	return errors.Is(err, blockstore.ErrDamaged) || errors.Is(err, blockstore.ErrNotFound)
}

// insteadOf loads a lost block from the image. why is the store's error.
func (b *below) insteadOf(ctx context.Context, why error, id blockstore.ID, p []byte, s piece) error {
	if err := b.lost(ctx, id, p, s); err != nil {
		return fmt.Errorf("%w, and it cannot be loaded again: %w", why, err)
	}
	return nil
}

// lost reads a part of a lost block from the image, if the image has the same bytes, and saves the
// block again.
func (b *below) lost(ctx context.Context, id blockstore.ID, p []byte, s piece) error {
	block := make([]byte, min(blockstore.BlockSize, b.size-s.unit))
	// The image may be smaller than a committed disk.
	if n := min(int64(len(block)), b.Info().Size-s.unit); n > 0 {
		if err := b.Image.ReadAt(ctx, block[:n], s.unit); err != nil {
			return err
		}
	}
	if blockstore.IDOf(block) != id {
		return fmt.Errorf("block %s at %#x: %w", id, s.unit, errOther)
	}
	copy(p, block[s.skip:])
	if err := b.stored.store.Save(ctx, b.stored.disk, s.unit, block); err != nil && ctx.Err() == nil {
		b.healed(err)
	}
	return nil
}

func (b *below) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	if b.untouched() {
		return b.Image.Extent(ctx, off, n)
	}
	state, n, err := b.stored.run(off, n)
	switch {
	case err != nil:
		return formats.Extent{}, err
	case state == blockstore.Absent || state != blockstore.Lost && !b.stored.changed:
		return b.Image.Extent(ctx, off, n)
	}
	return extentOf(state, off, n), nil
}
