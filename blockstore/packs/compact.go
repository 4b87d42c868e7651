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

// empty moves a pack's records elsewhere, removes the pack and returns the number of bytes freed.
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
	// The pack may only be removed if the index has no record in it.
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

// thinPacks returns the packs that are less than half full of live records. It leaves out the pack
// that is being filled.
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
	before, _ := slices.BinarySearch(packs, last)
	fills, err := s.fills(packs[:before], live)
	return thin(fills), err
}

// fill is the length of a pack and the bytes of its records that the index names.
type fill struct {
	pack         uint32
	live, length int64
}

// fills returns the fill of each pack that can be opened.
func (s *Store) fills(packs []uint32, live map[uint32]int64) (fills []fill, err error) {
	for _, pack := range packs {
		f, err := s.files.get(pack)
		if err != nil {
			continue // verify reports it
		}
		length, _, err := f.Size()
		if err != nil {
			return nil, err
		}
		fills = append(fills, fill{pack, live[pack], length})
	}
	return fills, nil
}

// thin returns the packs that are less than half full.
func thin(fills []fill) (packs []uint32) {
	for _, f := range fills {
		if f.live < f.length/2 {
			packs = append(packs, f.pack)
		}
	}
	return packs
}

// inPack returns the index entries of a pack, sorted by place.
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

// move appends records again and points the index to the new places. It mends damaged ones.
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

// wholeOrMended reads a record that is to be moved. The record is empty if it was damaged or is
// gone.
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

// isAt reports whether the index still has the entry e.
func (s *Store) isAt(e indexed) (there bool, err error) {
	err = s.db.View(func(tx *kv.Tx) error {
		loc, ok, err := lookUp(tx, e.kind, e.id)
		there = ok && loc == e.loc
		return err
	})
	return there, err
}
