package mem

import (
	"context"
	"fmt"
	iofs "io/fs"
	"maps"
	"slices"

	"github.com/imsfs/imsfs/blockstore"
)

func (s *Store) Save(ctx context.Context, n uint64, off int64, plain []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.aligned(n, off, int64(len(plain)))
	if err != nil {
		return err
	}
	block := off / blockstore.BlockSize
	for p := range slices.Chunk(plain, blockstore.BlockSize) {
		e := blockstore.EntryOf(p)
		if e.State == blockstore.Data {
			if err := s.put(d, e.ID, p); err != nil {
				return err
			}
		}
		d.entries[block] = e
		s.use(d, block)
		block++
	}
	return nil
}

func (s *Store) put(d *disk, id blockstore.ID, plain []byte) error {
	if _, ok := s.blocks[id]; ok {
		return nil
	}
	if s.limit > 0 && d.evictable && s.bytes()+blockstore.BlockSize > s.limit {
		return fmt.Errorf("%d bytes of %d: %w", s.bytes(), s.limit, blockstore.ErrFull)
	}
	block := make([]byte, blockstore.BlockSize)
	copy(block, plain)
	s.blocks[id] = block
	delete(s.quarantined, id)
	return nil
}

func (s *Store) bytes() int64 { return int64(len(s.blocks)) * blockstore.BlockSize }

func (s *Store) Zero(ctx context.Context, n uint64, off, length int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.aligned(n, off, length)
	if err != nil {
		return err
	}
	for i := off / blockstore.BlockSize; i < blockstore.Blocks(off+length); i++ {
		d.entries[i] = blockstore.Entry{State: blockstore.Zero}
	}
	return nil
}

// aligned returns the disk if the range consists of whole blocks of it.
func (s *Store) aligned(n uint64, off, length int64) (*disk, error) {
	d, err := s.disk(n)
	if err != nil {
		return nil, err
	}
	if off < 0 || length < 0 || off > d.size || length > d.size-off || off%blockstore.BlockSize != 0 ||
		length%blockstore.BlockSize != 0 && off+length != d.size {
		return nil, fmt.Errorf("disk %d of %d bytes: %d bytes at %#x are not its blocks: %w", n, d.size, length, off, iofs.ErrInvalid)
	}
	return d, nil
}

func (s *Store) Create(n uint64, size int64, note string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.create(n, size, note)
	return err
}

func (s *Store) create(n uint64, size int64, note string) (*disk, error) {
	if size < 0 || size > blockstore.MaxDiskSize || len(note) > blockstore.MaxNote {
		return nil, fmt.Errorf("create disk %d of %d bytes: %w", n, size, iofs.ErrInvalid)
	}
	if s.disks[n] != nil {
		return nil, fmt.Errorf("create disk %d: %w", n, iofs.ErrExist)
	}
	d := &disk{
		size: size, note: note,
		entries: make([]blockstore.Entry, blockstore.Blocks(size)),
		used:    make([]uint64, blockstore.Segments(size)),
	}
	s.disks[n] = d
	return d, nil
}

func (s *Store) Clone(from, to uint64, size int64, note string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.disk(from)
	if err != nil {
		return fmt.Errorf("clone: %w", err)
	}
	clone, err := s.create(to, size, note)
	if err != nil {
		return err
	}
	copy(clone.entries, d.entries)
	if size < d.size && size%blockstore.BlockSize != 0 {
		clone.entries[len(clone.entries)-1] = blockstore.Entry{}
	}
	return nil
}

func (s *Store) Disks() ([]uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.disks)), nil
}

func (s *Store) Delete(n uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.disks, n)
	return nil
}

func (s *Store) Evict(n uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.disk(n)
	if err == nil {
		clear(d.entries)
	}
	return err
}

func (s *Store) SetEvictable(n uint64, evictable bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.disk(n)
	if err == nil {
		d.evictable = evictable
	}
	return err
}

func (s *Store) Sweep(ctx context.Context) (blockstore.Freed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sweep(), ctx.Err()
}

func (s *Store) sweep() (freed blockstore.Freed) {
	live := map[blockstore.ID]bool{}
	for _, d := range s.disks {
		for _, e := range d.entries {
			live[e.ID] = true
		}
	}
	for id := range s.blocks {
		if !live[id] {
			delete(s.blocks, id)
			freed.Blocks++
			freed.Bytes += blockstore.BlockSize
		}
	}
	for id := range s.quarantined {
		if !live[id] {
			delete(s.quarantined, id)
		}
	}
	return freed
}

func (s *Store) Trim(ctx context.Context) (freed blockstore.Freed, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.limit > 0 && s.bytes() > s.limit-s.limit/16 {
		n := s.sweep()
		freed.Blocks += n.Blocks
		freed.Bytes += n.Bytes
		if n.Blocks == 0 && !s.evictOldest() {
			break
		}
	}
	return freed, ctx.Err()
}

// evictOldest makes the least recently used segment with data absent. It reports whether there was
// one.
func (s *Store) evictOldest() bool {
	var oldest []blockstore.Entry
	var when uint64
	for _, d := range s.disks {
		for seg, used := range d.used {
			first := int64(seg) * blockstore.SegmentBlocks
			entries := d.entries[first:][:blockstore.SegmentLen(d.size, int64(seg))]
			if _, data := blockstore.Segment(entries).Count(); d.evictable && data > 0 && (oldest == nil || used < when) {
				oldest, when = entries, used
			}
		}
	}
	clear(oldest)
	return oldest != nil
}

// Compact does nothing, because memory has no holes.
func (s *Store) Compact(ctx context.Context) (blockstore.Freed, error) {
	return blockstore.Freed{}, ctx.Err()
}

func (s *Store) Verify(ctx context.Context, progress func(done, total int64), damaged func(error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	done, total := int64(0), int64(len(s.blocks))
	for id, block := range s.blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		if blockstore.IDOf(block) != id {
			delete(s.blocks, id)
			s.quarantined[id] = true
			damaged(&blockstore.DamagedError{ID: id, Why: "its bytes are not those of its ID"})
		}
		if done++; progress != nil {
			progress(done, total)
		}
	}
	return nil
}

func (s *Store) Stats() (blockstore.Stats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := blockstore.Stats{
		Disks: int64(len(s.disks)), Blocks: int64(len(s.blocks)), Stored: s.bytes(), Used: s.bytes(),
		Quarantined: int64(len(s.quarantined)), Limit: s.limit,
	}
	for _, d := range s.disks {
		st.Mapped += s.status(d).Data * blockstore.BlockSize
	}
	return st, nil
}
