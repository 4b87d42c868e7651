package packs

import (
	"fmt"
	iofs "io/fs"
	"iter"
	"slices"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

func (s *Store) Lookup(disk uint64, block int64) (blockstore.Entry, error) {
	p := place{disk, block / blockstore.SegmentBlocks}
	segment, epoch := s.maps.get(p)
	if segment == nil {
		err := s.db.View(func(tx *kv.Tx) error {
			rec, err := readDisk(tx, disk)
			if err != nil {
				return err
			}
			if block < 0 || block >= blockstore.Blocks(rec.Size) {
				return fmt.Errorf("disk %d of %d bytes has no block %d: %w", disk, rec.Size, block, iofs.ErrInvalid)
			}
			segment, err = readSegment(tx, p, blockstore.SegmentLen(rec.Size, p.seg))
			return err
		})
		if err != nil {
			return blockstore.Entry{}, err
		}
		s.maps.add(p, segment, epoch)
	}
	i := int(block % blockstore.SegmentBlocks)
	if i < 0 || i >= len(segment) {
		return blockstore.Entry{}, fmt.Errorf("disk %d has no block %d: %w", disk, block, iofs.ErrInvalid)
	}
	e := segment[i]
	if e.State == blockstore.Data && s.quarantine.has(e.ID) {
		e.State = blockstore.Lost
	}
	return e, nil
}

func (s *Store) AnyLost() bool { return !s.quarantine.empty() }

func (s *Store) Status(disk uint64) (st blockstore.Status, err error) {
	err = s.db.View(func(tx *kv.Tx) error {
		rec, err := readDisk(tx, disk)
		if err != nil {
			return err
		}
		n, err := readCount(tx, disk)
		if err != nil {
			return err
		}
		st = blockstore.Status{Size: rec.Size, Loaded: n.loaded, Data: n.data, Total: blockstore.Blocks(rec.Size)}
		if s.quarantine.empty() {
			return nil
		}
		missing, err := s.missing(tx, disk)
		st.Loaded -= missing
		st.Data -= missing
		return err
	})
	return st, err
}

// missing counts a disk's entries that name quarantined blocks.
func (s *Store) missing(tx *kv.Tx, disk uint64) (n int64, err error) {
	for m, err := range mapOf(tx, disk) {
		if err != nil {
			return 0, err
		}
		segment := m.private
		if segment == nil {
			if segment, err = readShared(tx, m.shared); err != nil {
				return 0, err
			}
		}
		for _, e := range segment {
			if e.State == blockstore.Data && s.quarantine.has(e.ID) {
				n++
			}
		}
	}
	return n, nil
}

func (s *Store) Digest(disk uint64) (blockstore.Digest, error) {
	st, err := s.Status(disk)
	if err != nil {
		return blockstore.Digest{}, err
	}
	if !st.Complete() {
		return blockstore.Digest{}, fmt.Errorf("disk %d has %d of its %d blocks: %w", disk, st.Loaded, st.Total, blockstore.ErrIncomplete)
	}
	var ids []blockstore.SegmentID
	err = s.db.View(func(tx *kv.Tx) error {
		for m, err := range mapOf(tx, disk) {
			if err != nil {
				return err
			}
			ids = append(ids, m.shared)
		}
		return nil
	})
	if err == nil && int64(len(ids)) != blockstore.Segments(st.Size) { // it changed since
		err = fmt.Errorf("disk %d: %w", disk, blockstore.ErrIncomplete)
	}
	if err != nil {
		return blockstore.Digest{}, err
	}
	return blockstore.DigestOf(st.Size, slices.Values(ids)), nil
}

// segmentOf is a disk's map value for one segment, with its place.
type segmentOf struct {
	place
	mapped
}

// mapOf yields a disk's map in order, without segments that are wholly absent.
func mapOf(tx *kv.Tx, disk uint64) iter.Seq2[segmentOf, error] {
	return func(yield func(segmentOf, error) bool) {
		for e, err := range tx.Prefix(diskKey(mapPrefix, disk)) {
			var m segmentOf
			if err == nil {
				m, err = parseSegmentOf(e)
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

func parseSegmentOf(e kv.Entry) (m segmentOf, err error) {
	if m.place, err = parsePlace(mapPrefix, e.Key); err == nil {
		m.mapped, err = parseMapped(e.Key, e.Value)
	}
	return m, err
}
