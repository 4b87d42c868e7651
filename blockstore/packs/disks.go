package packs

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	iofs "io/fs"
	"slices"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

// A disk exists if its record exists. A kill can leave map segments without a record. They are
// cleared when a disk of that number is created, and by a sweep.

func (s *Store) Create(disk uint64, size int64, note string) error {
	s.writer.Lock()
	defer s.writer.Unlock()
	return s.makeDisk(disk, diskRecord{Size: size, Note: note})
}

// makeDisk enters the groups and then the disk's record. The record comes last, because it makes
// the disk exist.
func (s *Store) makeDisk(disk uint64, rec diskRecord, groups ...[]op) error {
	if rec.Size < 0 || rec.Size > blockstore.MaxDiskSize || len(rec.Note) > blockstore.MaxNote {
		return fmt.Errorf("create disk %d: %d bytes with a note of %d: at most %d and %d: %w",
			disk, rec.Size, len(rec.Note), int64(blockstore.MaxDiskSize), blockstore.MaxNote, iofs.ErrInvalid)
	}
	err := s.db.View(func(tx *kv.Tx) error {
		v, err := find(tx, diskKey(diskPrefix, disk))
		if err == nil && v != nil {
			err = fmt.Errorf("create disk %d: %w", disk, iofs.ErrExist)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := s.clearDisk(disk); err != nil {
		return err
	}
	value, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return s.writeGroups(append(groups, []op{{diskKey(diskPrefix, disk), value}}))
}

// clearDisk deletes the map of a disk that has no record.
func (s *Store) clearDisk(disk uint64) error {
	ops := []op{}
	err := s.db.View(func(tx *kv.Tx) error {
		for _, prefix := range []string{mapPrefix, usePrefix, countPrefix} {
			for e, err := range tx.Prefix(diskKey(prefix, disk)) {
				if err != nil {
					return err
				}
				ops = append(ops, op{e.Key, nil})
			}
		}
		return nil
	})
	if err == nil {
		err = s.write(ops...)
	}
	s.maps.drop(disk)
	return err
}

func (s *Store) Disks() (disks []uint64, err error) {
	err = s.db.View(func(tx *kv.Tx) error {
		for e, err := range tx.Prefix([]byte(diskPrefix)) {
			if err != nil {
				return err
			}
			if len(e.Key) != len(diskPrefix)+8 {
				return damagedKey(e.Key, "it has another length")
			}
			disks = append(disks, binary.BigEndian.Uint64(e.Key[len(diskPrefix):]))
		}
		return nil
	})
	return disks, err
}

func (s *Store) Delete(disk uint64) error {
	s.writer.Lock()
	defer s.writer.Unlock()
	err := s.change(func(b *batch) error {
		v, err := find(b.tx, diskKey(diskPrefix, disk))
		if err != nil || v == nil {
			return err
		}
		rec, err := parseDisk(diskKey(diskPrefix, disk), v)
		if err != nil {
			return err
		}
		b.maps = append(b.maps, []op{{diskKey(diskPrefix, disk), nil}})
		return b.dropRoots(disk, &diskState{rec: rec})
	})
	if err != nil {
		return fmt.Errorf("delete disk %d: %w", disk, err)
	}
	return s.clearDisk(disk)
}

func (s *Store) Evict(disk uint64) error {
	s.writer.Lock()
	defer s.writer.Unlock()
	var places []place
	err := s.db.View(func(tx *kv.Tx) error {
		if _, err := readDisk(tx, disk); err != nil {
			return err
		}
		for m, err := range mapOf(tx, disk) {
			if err != nil {
				return err
			}
			places = append(places, m.place)
		}
		return nil
	})
	if err == nil {
		err = s.clearPlaces(places)
	}
	if err != nil {
		return fmt.Errorf("evict: %w", err)
	}
	return nil
}

// clearPlaces makes map segments absent. The caller holds the writer's lock.
func (s *Store) clearPlaces(places []place) error {
	for part := range slices.Chunk(places, maxOps) {
		err := s.change(func(b *batch) error {
			for _, p := range part {
				if err := b.clearPlace(p); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) clearPlace(p place) error {
	d, err := b.disk(p.disk)
	if err != nil {
		return err
	}
	m, ok, err := readMapped(b.tx, p)
	if err != nil || !ok {
		return err
	}
	var before count
	before.loaded, before.data = m.count(blockstore.SegmentLen(d.rec.Size, p.seg))
	b.clear(p, d, before)
	return nil
}

func (s *Store) SetEvictable(disk uint64, evictable bool) error {
	s.writer.Lock()
	defer s.writer.Unlock()
	var rec diskRecord
	err := s.db.View(func(tx *kv.Tx) (err error) {
		rec, err = readDisk(tx, disk)
		return err
	})
	if err != nil || rec.Evictable == evictable {
		return err
	}
	rec.Evictable = evictable
	value, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return s.write(op{diskKey(diskPrefix, disk), value})
}
