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

// Verify reads all that the store has of the disk and compares it with its IDs, on all processors. What is damaged is taken
// out of use and reported, with its place in the disk, so that the next read, or a Load, gets it from the image
// again. progress, unless nil, is told after each segment. The error is for what kept it from looking.
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

// verifying is one Verify under way.
type verifying struct {
	disk     *Disk
	progress func(Progress)
	damaged  func(off int64, err error)
	next     atomic.Int64 // segment

	mu   sync.Mutex // guards done, and keeps the calls apart
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

// block checks one block with all its bytes.
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
