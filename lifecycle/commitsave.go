package lifecycle

import (
	"context"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/overlay"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/job"
)

// saveStep is how much is read and saved at once.
const saveStep = 32 * blockstore.BlockSize

// saving is a commit's work on the store. Its time depends on the changed bytes, not on the disk's
// size.
type saving struct {
	store  blockstore.Store
	disk   uint64
	frozen *overlay.Frozen
	base   int64 // size of the disk below the deltas
	job    *job.Job
	total  int64 // bytes to be looked at

	buffers sync.Pool // *[saveStep]byte

	mu         sync.Mutex // guards the following
	done, data int64      // of total; and those that are not zeros
}

// save makes a new disk in the store of the frozen deltas; its number is the image's. Blocks that
// the store has already are hashed, not stored.
func (v *Volume) save(ctx context.Context, j *job.Job, frozen *overlay.Frozen, rec *catalog.Image) error {
	s := &saving{
		store: v.reg.cfg.Store, disk: rec.ID, frozen: frozen, job: j,
		buffers: sync.Pool{New: func() any { return new([saveStep]byte) }},
	}
	below := v.record().Base
	if below != nil {
		s.base = below.Size
	}
	if err := v.reg.catalog.Provisional(rec.ID); err != nil {
		return err
	}
	if err := s.begin(below, rec.Size, v.reg.noteOf(*rec)); err != nil {
		return err
	}
	for off, end := s.changed(0); off < end; off, end = s.changed(end) {
		s.total += end - off
	}
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(4 * runtime.GOMAXPROCS(0)) // some read or wait for a sync while others compress
	for off, end := s.changed(0); off < end && working.Err() == nil; off, end = s.changed(end) {
		if err := s.saveRange(working, group, off, end); err != nil {
			group.Go(func() error { return err })
			break
		}
	}
	err := group.Wait()
	rec.Allocated = min(rec.Allocated+s.data, rec.Size)
	if err != nil {
		return err
	}
	return ctx.Err()
}

// begin makes the disk, with the blocks that the one below has. A base that was registered with
// load=none has none in the store: then unchanged blocks are absent, and loaded from its source.
func (s *saving) begin(below *catalog.Base, size int64, note string) error {
	if below == nil || !below.Stored() {
		return s.store.Create(s.disk, size, note)
	}
	return s.store.Clone(below.ID, s.disk, size, note)
}

// changed returns the first range of whole blocks at or after off, which is their border or the
// disk's end, that the base does not decide: what the deltas have, what is past the base's end, and
// a block that an end cuts. It is empty if there is none.
func (s *saving) changed(off int64) (from, end int64) {
	size := s.frozen.Size()
	at, n := s.frozen.Changed(off)
	if n == 0 {
		at = size
	}
	tail := s.base / blockstore.BlockSize * blockstore.BlockSize
	if s.base > size {
		tail = size / blockstore.BlockSize * blockstore.BlockSize
	}
	if s.base != size && at >= tail { // from there on nothing is the base's, or not as it is
		return min(max(off, tail), size), size
	}
	if n == 0 {
		return size, size
	}
	from = at / blockstore.BlockSize * blockstore.BlockSize
	return from, min((at+n+blockstore.BlockSize-1)/blockstore.BlockSize*blockstore.BlockSize, size)
}

// saveRange saves a range that was changed, its pieces at the same time.
func (s *saving) saveRange(ctx context.Context, group *errgroup.Group, off, end int64) error {
	for off < end {
		zeros, err := s.zeros(ctx, off, end)
		if err != nil {
			return err
		}
		if zeros > 0 {
			if err := s.store.Zero(ctx, s.disk, off, zeros); err != nil {
				return err
			}
			s.did(zeros, 0)
			off += zeros
			continue
		}
		at, n := off, min(saveStep, end-off)
		group.Go(func() error { return s.piece(ctx, at, n) })
		off += n
	}
	return nil
}

func (s *saving) piece(ctx context.Context, off, n int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	whole := s.buffers.Get().(*[saveStep]byte)
	defer s.buffers.Put(whole)
	buf := whole[:n]
	if _, err := s.frozen.ReadAt(ctx, buf, off); err != nil {
		return err
	}
	if err := s.store.Save(ctx, s.disk, off, buf); err != nil {
		return err
	}
	s.did(n, n)
	return nil
}

func (s *saving) did(n, data int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done += n
	s.data += data
	s.job.Progress(job.Share(s.done, s.total), s.data)
}

// maxZeroRun is how many zeros are entered at once.
const maxZeroRun = 16 << 30

// zeros returns how many bytes at off, whole blocks or up to the disk's end, are known to be zeros.
func (s *saving) zeros(ctx context.Context, off, end int64) (int64, error) {
	most := min(maxZeroRun, end-off)
	n := int64(0)
	for n < most {
		e, err := s.frozen.Extent(ctx, off+n, most-n)
		if err != nil {
			return 0, err
		}
		if e.State == formats.Data {
			return n / blockstore.BlockSize * blockstore.BlockSize, nil
		}
		n += e.Len
	}
	return n, nil
}
