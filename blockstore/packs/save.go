package packs

import (
	"context"
	"fmt"
	iofs "io/fs"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

// These limits of a batch keep its transactions small, and the records that a kill leaves few.
const (
	maxBatchBlocks   = 512
	maxBatchSegments = 64
)

// request is one saver's blocks on their way into a batch.
type request struct {
	disk   uint64
	first  int64 // block
	blocks []prepared

	// The writer's lock guards done and err.
	done bool
	err  error
}

// prepared is a hashed block. It has a record if it is new.
type prepared struct {
	entry  blockstore.Entry
	plain  []byte
	record *[]byte // nil if the index had it, or it is zero
	loc    location
}

// segments returns the number of map segments that the request touches.
func (r *request) segments() int64 {
	last := r.first + int64(len(r.blocks)) - 1
	return last/blockstore.SegmentBlocks - r.first/blockstore.SegmentBlocks + 1
}

// size returns the bytes of the request's records.
func (r *request) size() (n int64) {
	for i := range r.blocks {
		if r.blocks[i].record != nil {
			n += r.blocks[i].loc.size()
		}
	}
	return n
}

// data returns the number of blocks that are not zeros.
func (r *request) data() (n int) {
	for i := range r.blocks {
		if r.blocks[i].entry.State == blockstore.Data {
			n++
		}
	}
	return n
}

func (s *Store) Save(ctx context.Context, disk uint64, off int64, plain []byte) error {
	if err := s.checkRange(disk, off, int64(len(plain))); err != nil {
		return err
	}
	const part = maxBatchBlocks / 4 * blockstore.BlockSize // so that several savers fit into a batch
	for p := range slices.Chunk(plain, part) {
		if err := s.savePart(ctx, disk, off, p); err != nil {
			return fmt.Errorf("save disk %d at %#x: %w", disk, off, err)
		}
		off += int64(len(p))
	}
	return nil
}

func (s *Store) savePart(ctx context.Context, disk uint64, off int64, plain []byte) error {
	req := &request{disk: disk, first: off / blockstore.BlockSize}
	defer s.release(req)
	if err := s.prepare(ctx, req, plain); err != nil {
		return err
	}
	return s.enter(req)
}

func (s *Store) Zero(ctx context.Context, disk uint64, off, n int64) error {
	if err := s.checkRange(disk, off, n); err != nil {
		return err
	}
	const part = maxBatchSegments / 2 * blockstore.SegmentBlocks
	for first, end := off/blockstore.BlockSize, blockstore.Blocks(off+n); first < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		req := &request{disk: disk, first: first, blocks: make([]prepared, min(part, end-first))}
		for i := range req.blocks {
			req.blocks[i].entry.State = blockstore.Zero
		}
		if err := s.enter(req); err != nil {
			return fmt.Errorf("save zeros of disk %d: %w", disk, err)
		}
		first += int64(len(req.blocks))
	}
	return nil
}

// checkRange returns an error if the range does not consist of whole blocks of the disk.
func (s *Store) checkRange(disk uint64, off, n int64) error {
	var rec diskRecord
	err := s.db.View(func(tx *kv.Tx) (err error) {
		rec, err = readDisk(tx, disk)
		return err
	})
	if err != nil {
		return err
	}
	if off < 0 || n < 0 || off > rec.Size || n > rec.Size-off || off%blockstore.BlockSize != 0 ||
		n%blockstore.BlockSize != 0 && off+n != rec.Size {
		return fmt.Errorf("disk %d of %d bytes: %d bytes at %#x are not its blocks: %w", disk, rec.Size, n, off, iofs.ErrInvalid)
	}
	return nil
}

// prepare hashes and compresses a request's blocks on all free processors.
func (s *Store) prepare(ctx context.Context, req *request, plain []byte) error {
	req.blocks = make([]prepared, blockstore.Blocks(int64(len(plain))))
	group, ctx := errgroup.WithContext(ctx)
	for i := range req.blocks {
		select {
		case s.cpus <- struct{}{}:
		case <-ctx.Done():
			return errorsFirst(group.Wait(), context.Cause(ctx))
		}
		group.Go(func() error {
			defer func() { <-s.cpus }()
			block := plain[i*blockstore.BlockSize:]
			return s.prepareBlock(&req.blocks[i], block[:min(len(block), blockstore.BlockSize)])
		})
	}
	return group.Wait()
}

func errorsFirst(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (s *Store) prepareBlock(b *prepared, plain []byte) error {
	if b.entry = blockstore.EntryOf(plain); b.entry.State != blockstore.Data {
		return nil
	}
	b.plain = plain
	var known bool
	err := s.db.View(func(tx *kv.Tx) (err error) {
		_, known, err = lookUp(tx, blockKind, name(b.entry.ID))
		return err
	})
	if err == nil && !known {
		s.makeRecord(b)
	}
	return err
}

// makeRecord makes a block's record; its place is not known yet.
func (s *Store) makeRecord(b *prepared) {
	plain := b.plain
	if len(plain) < blockstore.BlockSize {
		plain = append(slices.Clone(plain), make([]byte, blockstore.BlockSize-len(plain))...)
	}
	b.record = s.bufs.Get().(*[]byte)
	*b.record, b.loc = appendRecord((*b.record)[:0], s.enc, blockKind, name(b.entry.ID), plain)
}

// release returns the request's buffers to the pool.
func (s *Store) release(req *request) {
	for _, b := range req.blocks {
		if b.record != nil {
			s.bufs.Put(b.record)
		}
	}
}

// queue holds the requests of savers that wait for the writer's lock. The saver that gets the lock
// commits for all of them.
type queue struct {
	mu      sync.Mutex
	waiting []*request
}

func (q *queue) add(req *request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, req)
}

// batch takes the requests of the next commit off the queue, oldest first.
func (q *queue) batch() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, data, segments := 0, 0, int64(0)
	for n < len(q.waiting) {
		data += q.waiting[n].data()
		segments += q.waiting[n].segments()
		if n > 0 && (data > maxBatchBlocks || segments > maxBatchSegments) {
			break
		}
		n++
	}
	batch := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	return batch
}

// enter returns when the request is committed or has failed. Another goroutine may have committed
// it.
func (s *Store) enter(req *request) error {
	s.queue.add(req)
	s.writer.Lock()
	defer s.writer.Unlock()
	for !req.done {
		batch := s.queue.batch()
		err := s.commit(batch)
		for _, r := range batch {
			r.done = true
			if r.err == nil {
				r.err = err
			}
		}
	}
	return req.err
}
