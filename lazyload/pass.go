package lazyload

import (
	"context"
	"time"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/formats"
)

// pause is the time between two reads of a pass while readers load, which leaves the processors and
// the source to the readers.
const pause = 20 * time.Millisecond

// Pass returns the disk as an image for one pass over all of it. For example, an export reads it.
// Blocks come from the store, absent ones from the image. They are kept neither in the cache, where
// they would push out those that readers use, nor in the store. While readers load, a pass reads
// only one piece every pause. info is the image's; reads of whole clusters decode none twice.
func (d *Disk) Pass(info formats.Info) formats.Image {
	info.Size = d.size
	return &pass{disk: d, info: info, turn: make(chan struct{}, 1), demand: d.loader.saver.demand.Load()}
}

type pass struct {
	disk *Disk
	info formats.Info

	turn   chan struct{} // has a token while a read uses demand
	demand int64         // the number of readers' loads at the last read
}

var _ formats.Image = (*pass)(nil)

func (p *pass) Info() formats.Info { return p.info }

func (p *pass) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	return p.disk.Extent(ctx, off, n)
}

func (p *pass) ReadAt(ctx context.Context, b []byte, off int64) error {
	if err := p.giveWay(ctx); err != nil {
		return err
	}
	st := p.disk.stored
	if st == nil {
		return p.fromImage(ctx, b, off)
	}
	var pos, absent int64 // b[absent:pos] is the run of absent bytes
	for s := range pieces(off, int64(len(b)), blockstore.BlockSize) {
		e, err := st.store.Lookup(st.disk, s.unit/blockstore.BlockSize)
		if err != nil {
			return err
		}
		if e.State == blockstore.Absent {
			pos += s.n
			continue
		}
		if err := p.fromImage(ctx, b[absent:pos], off+absent); err != nil {
			return err
		}
		block := b[pos:][:s.n]
		if e.State == blockstore.Zero {
			clear(block)
		} else if err := p.disk.readKnown(ctx, e, block, s); err != nil {
			return err
		}
		pos += s.n
		absent = pos
	}
	return p.fromImage(ctx, b[absent:], off+absent)
}

// giveWay waits for a pause if readers have loaded since the last read. Other reads of the pass
// wait with it.
func (p *pass) giveWay(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	now := p.disk.loader.saver.demand.Load()
	if now == p.demand {
		return nil
	}
	p.demand = now
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pass) fromImage(ctx context.Context, b []byte, off int64) error {
	if len(b) == 0 {
		return nil
	}
	img, err := p.disk.image.get(ctx)
	if err != nil {
		return err
	}
	return img.ReadAt(ctx, b, off)
}
