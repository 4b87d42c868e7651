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

// Trim starts when a limit is near and frees more than it must, so that savers can go on for a
// while: see excess.
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

// trimRound frees something, and reports whether another round may be needed. Each round but the
// first evicts segments, so the rounds end.
func (s *Store) trimRound(ctx context.Context, round int, sum *blockstore.Freed) (more bool, err error) {
	excess, err := s.excess(round > 0)
	if err != nil || excess <= 0 {
		return false, err
	}
	if round > 0 { // the first only sweeps existing garbage
		if n, err := s.evictOldest(excess); err != nil || n == 0 {
			return false, err
		}
	}
	freed, err := s.sweep(ctx)
	sum.Blocks += freed.Blocks
	sum.Bytes += freed.Bytes
	return err == nil, err
}

// forgetRefused clears the size of the request that did not fit. By now it fits, or Trim cannot
// help.
func (s *Store) forgetRefused() {
	s.writer.Lock()
	defer s.writer.Unlock()
	s.refused = 0
}

// excess measures the store and returns the number of bytes to free.
func (s *Store) excess(begun bool) (int64, error) {
	free, err := s.files.free()
	if err != nil {
		return 0, err
	}
	s.writer.Lock()
	used := s.used + s.refused
	free -= s.refused
	s.writer.Unlock()
	return excess(used, free, s.opts.Limit, s.opts.FreeFloor, begun), nil
}

// excess returns the number of bytes to free, or 0 or less for none. A trim starts when less than a
// sixteenth of limit is left, or the free space is less than a sixteenth above floor. Once begun it
// goes on to an eighth of either. A limit of 0 means unlimited.
func excess(used, free, limit, floor int64, begun bool) int64 {
	part := int64(16)
	if begun {
		part = 8
	}
	bytes := floor + floor/part - free
	if limit > 0 {
		bytes = max(bytes, used-(limit-limit/part))
	}
	return bytes
}

// candidate is a segment that may be evicted.
type candidate struct {
	place
	used uint64
	data int64 // blocks
}

// evictOldest makes the least recently used segments absent, until their blocks add up to about
// bytes. It returns the number of segments.
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
	places := oldest(all, s.counts.stored/max(s.counts.blocks, 1), bytes)
	return len(places), s.clearPlaces(places)
}

// oldest returns the places of the least recently used candidates, as many as make up bytes. A
// block counts as blockSize bytes. The order of all changes.
func oldest(all []candidate, blockSize, bytes int64) (places []place) {
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(a.used, b.used) })
	for _, c := range all {
		if bytes <= 0 {
			break
		}
		places = append(places, c.place)
		bytes -= max(c.data*blockSize, 1)
	}
	return places
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
