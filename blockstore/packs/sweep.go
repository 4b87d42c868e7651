package packs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

// touched is what was saved, or saved again, since a sweep took its view of the store. What a map can name then is what
// the view can reach and what was touched since; all else is garbage.
type touched struct{ names map[uint64]struct{} }

// fingerprint stands for a name where a wrong yes only keeps garbage for a while.
func fingerprint(k kind, id name) uint64 { return binary.LittleEndian.Uint64(id[:]) ^ uint64(k) }

func (t *touched) add(k kind, id name) {
	if t != nil {
		t.names[fingerprint(k, id)] = struct{}{}
	}
}

func (t *touched) has(k kind, id name) bool {
	_, ok := t.names[fingerprint(k, id)]
	return ok
}

// Sweep is blockstore.Carer's.
func (s *Store) Sweep(ctx context.Context) (blockstore.Freed, error) {
	s.care.Lock()
	defer s.care.Unlock()
	freed, err := s.sweep(ctx)
	if err != nil {
		err = fmt.Errorf("sweep: %w", err)
	}
	return freed, err
}

// sweep works on the store as it was at one moment, between two batches. The caller holds care.
func (s *Store) sweep(ctx context.Context) (blockstore.Freed, error) {
	sw := &sweep{s: s, ctx: ctx, disks: map[uint64]bool{}, segments: map[blockstore.SegmentID]struct{}{}}
	s.writer.Lock()
	unlock := sync.OnceFunc(s.writer.Unlock)
	defer unlock()
	s.touched = &touched{names: map[uint64]struct{}{}}
	defer func() { // unlock has run by then, or this goroutine still holds the lock
		unlock()
		s.writer.Lock()
		defer s.writer.Unlock()
		s.touched = nil
	}()
	sw.pack, sw.end = s.tail.pack, s.tail.end
	err := s.db.View(func(tx *kv.Tx) error {
		unlock()
		sw.tx = tx
		for _, step := range []func() error{sw.mark, sw.index, sw.shared, sw.quarantined, sw.orphans, sw.punch} {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	})
	return sw.freed, errors.Join(err, s.measure())
}

// measure counts anew what the packs take.
func (s *Store) measure() error {
	s.writer.Lock()
	defer s.writer.Unlock()
	used, err := s.files.used()
	if err == nil {
		s.used = used
	}
	return err
}

// sweep is one sweep under way.
type sweep struct {
	s    *Store
	ctx  context.Context
	tx   *kv.Tx // the store as it was when it began
	pack uint32 // the tail then: what is behind it is none of its business
	end  int64

	disks    map[uint64]bool // disks there are, and whether complete
	orphaned []uint64        // disks that have map segments and no record
	segments map[blockstore.SegmentID]struct{}
	live     []uint64 // fingerprints of blocks that maps name, sorted
	kept     []extent // records that stay
	freed    blockstore.Freed
}

// extent is a record's place, in 12 bytes.
type extent struct{ pack, begin, end uint32 }

func extentOf(loc location) extent {
	return extent{loc.pack, uint32(loc.off / align), uint32(loc.end() / align)}
}

// mark finds all that maps name.
func (sw *sweep) mark() error {
	if err := sw.markDisks(); err != nil {
		return err
	}
	for e, err := range sw.tx.Prefix([]byte(mapPrefix)) {
		if err == nil {
			err = sw.ctx.Err()
		}
		if err != nil {
			return err
		}
		m, err := parseSegmentOf(e)
		if err != nil {
			return err
		}
		if _, ok := sw.disks[m.disk]; !ok {
			sw.orphan(m.disk)
			continue
		}
		if m.private != nil {
			sw.markBlocks(m.private)
		} else {
			sw.segments[m.shared] = struct{}{}
		}
	}
	for id := range sw.segments {
		segment, err := readShared(sw.tx, id)
		if err == nil {
			err = sw.ctx.Err()
		}
		if err != nil { // what it named is not known: nothing may be freed
			return err
		}
		sw.markBlocks(segment)
	}
	slices.Sort(sw.live)
	sw.live = slices.Compact(sw.live)
	return nil
}

func (sw *sweep) markDisks() error {
	for e, err := range sw.tx.Prefix([]byte(diskPrefix)) {
		if err != nil {
			return err
		}
		if len(e.Key) != len(diskPrefix)+8 {
			return damagedKey(e.Key, "it has another length")
		}
		rec, err := parseDisk(e.Key, e.Value)
		if err != nil {
			return err
		}
		disk := binary.BigEndian.Uint64(e.Key[len(diskPrefix):])
		n, err := readCount(sw.tx, disk)
		if err != nil {
			return err
		}
		sw.disks[disk] = n.loaded == blockstore.Blocks(rec.Size)
	}
	return nil
}

func (sw *sweep) markBlocks(segment blockstore.Segment) {
	for _, e := range segment {
		if e.State == blockstore.Data {
			sw.live = append(sw.live, fingerprint(blockKind, name(e.ID)))
		}
	}
}

// orphan notes a disk without a record; map keys come in order, so its keys come together.
func (sw *sweep) orphan(disk uint64) {
	if n := len(sw.orphaned); n == 0 || sw.orphaned[n-1] != disk {
		sw.orphaned = append(sw.orphaned, disk)
	}
}

// alive tells whether the view needs a record.
func (sw *sweep) alive(k kind, id name) bool {
	switch k {
	case blockKind:
		_, ok := slices.BinarySearch(sw.live, fingerprint(k, id))
		return ok
	case segmentKind:
		_, ok := sw.segments[blockstore.SegmentID(id)]
		return ok
	case rootKind:
		return sw.disks[diskOfRoot(id)]
	}
	return true
}
