// Package mem is a block store in memory, for tests of its users. It keeps plain bytes and shares
// them by ID, as every store does.
package mem

import (
	"context"
	"fmt"
	iofs "io/fs"
	"sync"

	"github.com/imsfs/imsfs/blockstore"
)

// Store is a block store in memory. It is safe for concurrent use.
type Store struct {
	limit int64

	mu          sync.Mutex
	clock       uint64
	blocks      map[blockstore.ID][]byte
	damaged     map[blockstore.ID]bool // blocks whose next read must notice
	quarantined map[blockstore.ID]bool
	disks       map[uint64]*disk
}

var _ blockstore.Store = (*Store)(nil)

type disk struct {
	size      int64
	note      string
	evictable bool
	entries   []blockstore.Entry
	used      []uint64 // clock of the last use, a segment each
}

// New returns an empty store that takes at most limit bytes for evictable disks; 0 means unlimited.
func New(limit int64) *Store {
	return &Store{
		limit:       limit,
		blocks:      map[blockstore.ID][]byte{},
		damaged:     map[blockstore.ID]bool{},
		quarantined: map[blockstore.ID]bool{},
		disks:       map[uint64]*disk{},
	}
}

// Close does nothing.
func (s *Store) Close() error { return nil }

func (s *Store) Read(ctx context.Context, id blockstore.ID, p []byte, off int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if off < 0 || len(p) > blockstore.BlockSize || off > blockstore.BlockSize-len(p) {
		return fmt.Errorf("block %s has no bytes %d to %d: %w", id, off, off+len(p), iofs.ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	block, ok := s.blocks[id]
	if !ok {
		return fmt.Errorf("block %s: %w", id, blockstore.ErrNotFound)
	}
	if s.damaged[id] {
		return &blockstore.DamagedError{ID: id, Why: "a test damaged it"}
	}
	copy(p, block[off:])
	return nil
}

func (s *Store) Quarantine(ctx context.Context, id blockstore.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if block, ok := s.blocks[id]; ok && blockstore.IDOf(block) != id {
		delete(s.blocks, id)
		delete(s.damaged, id)
		s.quarantined[id] = true
	}
	return nil
}

// Damage flips a bit of a block, for tests of damaged stores.
func (s *Store) Damage(id blockstore.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if block, ok := s.blocks[id]; ok {
		block[0] ^= 1
		s.damaged[id] = true
	}
}

func (s *Store) disk(n uint64) (*disk, error) {
	d := s.disks[n]
	if d == nil {
		return nil, fmt.Errorf("disk %d: %w", n, iofs.ErrNotExist)
	}
	return d, nil
}

func (s *Store) Lookup(n uint64, block int64) (blockstore.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.disk(n)
	if err != nil {
		return blockstore.Entry{}, err
	}
	if block < 0 || block >= int64(len(d.entries)) {
		return blockstore.Entry{}, fmt.Errorf("disk %d of %d bytes has no block %d: %w", n, d.size, block, iofs.ErrInvalid)
	}
	s.use(d, block)
	return s.entry(d.entries[block]), nil
}

func (s *Store) use(d *disk, block int64) {
	s.clock++
	d.used[block/blockstore.SegmentBlocks] = s.clock
}

// entry returns e as the map reports it.
func (s *Store) entry(e blockstore.Entry) blockstore.Entry {
	if e.State == blockstore.Data && s.quarantined[e.ID] {
		e.State = blockstore.Lost
	}
	return e
}

func (s *Store) Status(n uint64) (blockstore.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.disk(n)
	if err != nil {
		return blockstore.Status{}, err
	}
	return s.status(d), nil
}

func (s *Store) status(d *disk) blockstore.Status {
	st := blockstore.Status{Size: d.size, Total: int64(len(d.entries))}
	for _, e := range d.entries {
		switch s.entry(e).State {
		case blockstore.Data:
			st.Data++
			st.Loaded++
		case blockstore.Zero:
			st.Loaded++
		}
	}
	return st
}

func (s *Store) AnyLost() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.quarantined) > 0
}

func (s *Store) Digest(n uint64) (blockstore.Digest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.disk(n)
	if err != nil {
		return blockstore.Digest{}, err
	}
	if st := s.status(d); !st.Complete() {
		return blockstore.Digest{}, fmt.Errorf("disk %d has %d of its %d blocks: %w", n, st.Loaded, st.Total, blockstore.ErrIncomplete)
	}
	return blockstore.DigestOf(d.size, func(yield func(blockstore.SegmentID) bool) {
		for seg := range blockstore.Segments(d.size) {
			first := seg * blockstore.SegmentBlocks
			entries := blockstore.Segment(d.entries[first:][:blockstore.SegmentLen(d.size, seg)])
			if !yield(entries.ID()) {
				return
			}
		}
	}), nil
}
