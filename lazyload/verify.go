package lazyload

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/imsfs/imsfs/blockstore"
)

// Verify reads all of the disk's blocks in the store, on all processors, and compares them with
// their IDs. It quarantines a damaged block, so that the next read or Load gets it from the image
// again, and calls damaged with its offset. It calls progress, unless nil, after each segment. It
// returns an error if it could not check a block.
func (d *Disk) Verify(ctx context.Context, progress func(Progress), damaged func(off int64, err error)) error {
	if d.stored == nil {
		return errNoStore
	}
	v := &verifying{disk: d, progress: progress, damaged: damaged}
	group, ctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error { return v.run(ctx) })
	}
	return group.Wait()
}

// verifying is one running Verify.
type verifying struct {
	disk     *Disk
	progress func(Progress)
	damaged  func(off int64, err error)
	next     atomic.Int64 // segment

	mu   sync.Mutex // guards done, and keeps calls of progress and damaged from overlapping
	done int64
}

func (v *verifying) run(ctx context.Context) error {
	block := make([]byte, blockstore.BlockSize)
	for {
		off := (v.next.Add(1) - 1) * blockstore.SegmentSize
		if off >= v.disk.size {
			return nil
		}
		n := min(blockstore.SegmentSize, v.disk.size-off)
		for s := range pieces(off, n, blockstore.BlockSize) {
			if err := v.block(ctx, s.unit, block); err != nil {
				return err
			}
		}
		v.mu.Lock()
		if v.done += n; v.progress != nil {
			v.progress(Progress{Done: v.done, Total: v.disk.size, Loaded: v.done})
		}
		v.mu.Unlock()
	}
}

// block verifies all bytes of one block. p is a buffer of BlockSize.
func (v *verifying) block(ctx context.Context, off int64, p []byte) error {
	store := v.disk.stored.store
	e, err := store.Lookup(v.disk.stored.disk, off/blockstore.BlockSize)
	switch {
	case err != nil:
		return err
	case e.State == blockstore.Lost:
		return v.found(off, fmt.Errorf("block %s: %w: it was found damaged before", e.ID, blockstore.ErrDamaged))
	case e.State != blockstore.Data:
		return nil
	}
	err = v.disk.stored.read(ctx, e.ID, p, piece{unit: off, n: blockstore.BlockSize})
	switch {
	case errors.Is(err, blockstore.ErrNotFound): // evicted since
		return nil
	case err == nil && blockstore.IDOf(p) == e.ID:
		return nil
	case err == nil:
		err = fmt.Errorf("block %s: %w: its bytes are not those of its ID", e.ID, blockstore.ErrDamaged)
		err = errors.Join(err, store.Quarantine(ctx, e.ID))
	case !errors.Is(err, blockstore.ErrDamaged):
		return err
	}
	return v.found(off, err)
}

func (v *verifying) found(off int64, damage error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.damaged(off, damage)
	return nil
}
