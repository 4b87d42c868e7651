package packs

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

// Trim is blockstore.Carer's. It begins when less than a sixteenth is left and makes an eighth free, so that savers can go
// on for a while.
func (s *Store) Trim(ctx context.Context) (sum blockstore.Freed, err error) {
	s.care.Lock()
	defer s.care.Unlock()
	defer s.forgetRefused()
	for round := 0; ; round++ {
		more, err := s.trimRound(ctx, round, &sum)
		if err != nil {
			return sum, fmt.Errorf("trim: %w", err)
		}
		if !more {
			return sum, nil
		}
	}
}

// trimRound frees something, and tells whether there may be more to do. Each round but the first evicts, so they end.
func (s *Store) trimRound(ctx context.Context, round int, sum *blockstore.Freed) (more bool, err error) {
	excess, err := s.excess(round > 0)
	if err != nil || excess <= 0 {
		return false, err
	}
	if round > 0 { // the first only sweeps what is garbage already
		if n, err := s.evictOldest(excess); err != nil || n == 0 {
			return false, err
		}
	}
	freed, err := s.sweep(ctx)
	sum.Blocks += freed.Blocks
	sum.Bytes += freed.Bytes
	return err == nil, err
}

// forgetRefused ends the memory of what did not fit: by now it does, or nothing helps.
func (s *Store) forgetRefused() {
	s.writer.Lock()
	defer s.writer.Unlock()
	s.refused = 0
}

// excess is how many bytes must go: none while the store is within its limits, and once begun more than that.
func (s *Store) excess(begun bool) (int64, error) {
	free, err := s.files.free()
	if err != nil {
		return 0, err
	}
	s.writer.Lock()
	used := s.used + s.refused
	free -= s.refused
	s.writer.Unlock()
	limit, floor := s.opts.Limit, s.opts.FreeFloor
	part := int64(16)
	if begun {
		part = 8
	}
	excess := floor + floor/part - free
	if limit > 0 {
		excess = max(excess, used-(limit-limit/part))
	}
	return excess, nil
}

// candidate is a segment that may be evicted.
type candidate struct {
	place
	used uint64
	data int64 // blocks
}

// evictOldest makes the segments absent that were used longest ago, until their blocks are about that many bytes or
// none is left. It returns how many it made absent.
func (s *Store) evictOldest(bytes int64) (int, error) {
	s.writer.Lock()
	defer s.writer.Unlock()
	if err := s.flushUses(); err != nil {
		return 0, err
	}
	var all []candidate
	err := s.db.View(func(tx *kv.Tx) (err error) {
		all, err = candidates(tx)
		return err
	})
	if err != nil {
		return 0, err
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(a.used, b.used) })
	each := s.counts.stored / max(s.counts.blocks, 1)
	var places []place
	for _, c := range all {
		if bytes <= 0 {
			break
		}
		places = append(places, c.place)
		bytes -= max(c.data*each, 1)
	}
	return len(places), s.clearPlaces(places)
}

// candidates returns the segments with data of evictable disks.
func candidates(tx *kv.Tx) (all []candidate, err error) {
	for e, err := range tx.Prefix([]byte(diskPrefix)) {
		if err != nil {
			return nil, err
		}
		rec, err := parseDisk(e.Key, e.Value)
		if err != nil {
			return nil, err
		}
		if !rec.Evictable {
			continue
		}
		for m, err := range mapOf(tx, binary.BigEndian.Uint64(e.Key[len(diskPrefix):])) {
			if err != nil {
				return nil, err
			}
			c := candidate{place: m.place}
			if _, c.data = m.count(0); c.data == 0 {
				continue
			}
			v, err := find(tx, m.key(usePrefix))
			if err != nil {
				return nil, err
			}
			if len(v) == 8 {
				c.used = binary.LittleEndian.Uint64(v)
			}
			all = append(all, c)
		}
	}
	return all, nil
}
