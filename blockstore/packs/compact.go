package packs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

func (s *Store) Compact(ctx context.Context) (blockstore.Freed, error) {
	s.care.Lock()
	defer s.care.Unlock()
	freed, err := s.compact(ctx)
	if err != nil {
		err = fmt.Errorf("compact: %w", err)
	}
	return freed, errors.Join(err, s.measure())
}

func (s *Store) compact(ctx context.Context) (freed blockstore.Freed, err error) {
	thin, err := s.thinPacks()
	if err != nil {
		return freed, err
	}
	for _, pack := range thin {
		n, err := s.empty(ctx, pack)
		freed.Bytes += n
		if err != nil {
			return freed, err
		}
	}
	return freed, nil
}

// empty moves a pack's records elsewhere and removes it. It returns how many bytes that gave back.
func (s *Store) empty(ctx context.Context, pack uint32) (freed int64, err error) {
	entries, err := s.inPack(pack)
	if err != nil {
		return 0, err
	}
	for part := range slices.Chunk(entries, atOnce/4) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if err := s.move(part); err != nil {
			return 0, err
		}
		for _, e := range part {
			freed -= e.loc.size()
		}
	}
	// The one look that must not be wrong: nothing may name what is removed now.
	left, err := s.inPack(pack)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("pack %d still has %d records", pack, len(left))
	}
	if err != nil {
		return 0, err
	}
	if f, err := s.files.get(pack); err == nil {
		_, used, _ := f.Size()
		freed += used
	}
	return max(freed, 0), s.files.remove(pack)
}

// thinPacks returns the packs that records fill to less than half, not the one that is being filled.
func (s *Store) thinPacks() ([]uint32, error) {
	s.writer.Lock()
	last := s.tail.pack
	s.writer.Unlock()
	live := map[uint32]int64{}
	err := s.eachIndexed(func(e indexed) { live[e.loc.pack] += e.loc.size() })
	if err != nil {
		return nil, err
	}
	packs, err := s.files.list()
	if err != nil {
		return nil, err
	}
	var thin []uint32
	for _, pack := range packs {
		if pack >= last {
			break
		}
		f, err := s.files.get(pack)
		if err != nil {
			continue // verify finds what is wrong with it
		}
		length, _, err := f.Size()
		if err != nil {
			return nil, err
		}
		if live[pack] < length/2 {
			thin = append(thin, pack)
		}
	}
	return thin, nil
}

// inPack returns the index entries of a pack in the order of their places.
func (s *Store) inPack(pack uint32) (entries []indexed, err error) {
	err = s.eachIndexed(func(e indexed) {
		if e.loc.pack == pack {
			entries = append(entries, e)
		}
	})
	sortByPlace(entries)
	return entries, err
}

func (s *Store) eachIndexed(fn func(indexed)) error {
	return s.db.View(func(tx *kv.Tx) error {
		for e, err := range tx.Prefix([]byte(indexPrefix)) {
			if err != nil {
				return err
			}
			entry, err := parseIndexed(e)
			if err != nil {
				return err
			}
			fn(entry)
		}
		return nil
	})
}

// move appends records again and makes the index name the new places. Damaged ones it mends.
func (s *Store) move(entries []indexed) error {
	good := entries[:0:0]
	var records [][]byte
	var plain []byte
	for _, e := range entries {
		var record []byte
		if err := s.wholeOrMended(&record, &plain, e); err != nil {
			return err
		}
		if len(record) > 0 {
			good, records = append(good, e), append(records, record)
		}
	}
	s.writer.Lock()
	defer s.writer.Unlock()
	return s.change(func(b *batch) error {
		if free, err := s.files.free(); err != nil || free < s.opts.FreeFloor {
			return errors.Join(err, blockstore.ErrFull)
		}
		for i, e := range good {
			now, ok, err := lookUp(b.tx, e.kind, e.id)
			if err != nil {
				return err
			}
			if !ok || now != e.loc { // freed or saved anew
				continue
			}
			if err := b.drop(e.kind, e.id); err != nil {
				return err
			}
			if err := b.put(e.kind, e.id, records[i], e.loc); err != nil {
				return err
			}
		}
		b.freed = nil // the pack goes as a whole
		return nil
	})
}

// wholeOrMended reads a record that is to be moved. If it was damaged, or is not there any more, there is none.
func (s *Store) wholeOrMended(record, plain *[]byte, e indexed) error {
	if s.whole(record, plain, e.kind, e.id, e.loc) == nil {
		return nil
	}
	damage, err := s.mend(e)
	if err == nil && damage == nil { // it reads right by now, or is gone
		var there bool
		if there, err = s.isAt(e); err == nil && there {
			return s.whole(record, plain, e.kind, e.id, e.loc)
		}
	}
	*record = nil
	return err
}

// isAt tells whether the index still has an entry as it is given.
func (s *Store) isAt(e indexed) (there bool, err error) {
	err = s.db.View(func(tx *kv.Tx) error {
		loc, ok, err := lookUp(tx, e.kind, e.id)
		there = ok && loc == e.loc
		return err
	})
	return there, err
}
