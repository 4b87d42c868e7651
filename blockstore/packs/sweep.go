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

// touched is the set of records that were saved, or saved again, since a sweep took its view of the
// store. Maps can name only these and the records that the view reaches; the rest is garbage.
type touched struct{ names map[uint64]struct{} }

// fingerprint returns a short stand-in for a name. A collision only keeps garbage for a while.
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

func (s *Store) Sweep(ctx context.Context) (blockstore.Freed, error) {
	s.care.Lock()
	defer s.care.Unlock()
	freed, err := s.sweep(ctx)
	if err != nil {
		err = fmt.Errorf("sweep: %w", err)
	}
	return freed, err
}

// sweep frees the garbage of the store as it was at one moment, between two batches. The caller
// holds care.
func (s *Store) sweep(ctx context.Context) (blockstore.Freed, error) {
	sw := &sweep{s: s, ctx: ctx, disks: map[uint64]bool{}, segments: map[blockstore.SegmentID]struct{}{}}
	s.writer.Lock()
	sw.rounds = 1 + uint64(max(s.counts.blocks, 0)/s.opts.sweepBlocks)
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
		for _, step := range []func() error{sw.mark, sw.blocks, sw.shared, sw.orphans, sw.punch} {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	})
	return sw.freed, errors.Join(err, s.measure())
}

// measure counts again the bytes that the packs take on disk.
func (s *Store) measure() error {
	s.writer.Lock()
	defer s.writer.Unlock()
	used, err := s.files.used()
	if err == nil {
		s.used = used
	}
	return err
}

// sweep is the state of one sweep.
type sweep struct {
	s    *Store
	ctx  context.Context
	tx   *kv.Tx // the store as it was when it began
	pack uint32 // the tail at that time: later records stay
	end  int64

	disks    map[uint64]bool // disks there are, and whether complete
	orphaned []uint64        // disks that have map segments and no record
	segments map[blockstore.SegmentID]struct{}
	rounds   uint64
	round    uint64   // blocks whose fingerprints have this remainder by rounds are looked at
	live     []uint64 // fingerprints of blocks of the round that maps name, sorted
	sorted   int      // how many of live are
	freed    blockstore.Freed
}

// sweepBlocks is the number of blocks in a round. A round takes about 32 MiB of memory, so a large
// store takes more rounds.
const sweepBlocks = 2 << 20

// extent is a record's place in 12 bytes.
type extent struct{ pack, begin, end uint32 }

func extentOf(loc location) extent {
	return extent{loc.pack, uint32(loc.off / align), uint32(loc.end() / align)}
}

// mark finds the disks, and the shared segments that maps name.
func (sw *sweep) mark() error {
	if err := sw.markDisks(); err != nil {
		return err
	}
	return sw.eachMap(func(m segmentOf) error {
		if m.private == nil {
			sw.segments[m.shared] = struct{}{}
		}
		return nil
	})
}

// blocks frees, round by round, the records that nothing names.
func (sw *sweep) blocks() error {
	for sw.round = range sw.rounds {
		sw.live, sw.sorted = sw.live[:0], 0
		if err := sw.markRound(); err != nil {
			return err
		}
		if err := sw.index(); err != nil {
			return err
		}
		if err := sw.quarantined(); err != nil {
			return err
		}
	}
	return nil
}

// markRound collects the round's blocks that maps name.
func (sw *sweep) markRound() error {
	err := sw.eachMap(func(m segmentOf) error {
		if m.private != nil {
			sw.markBlocks(m.private)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for id := range sw.segments {
		segment, err := readShared(sw.tx, id)
		if err == nil {
			err = sw.ctx.Err()
		}
		if err != nil { // its blocks are unknown, so nothing may be freed
			return err
		}
		sw.markBlocks(segment)
	}
	sw.sortLive()
	return nil
}

func (sw *sweep) sortLive() {
	slices.Sort(sw.live)
	sw.live = slices.Compact(sw.live)
	sw.sorted = len(sw.live)
}

// ofRound reports whether a record belongs to this round. Records other than blocks belong to the
// first.
func (sw *sweep) ofRound(k kind, id name) bool {
	if k != blockKind {
		return sw.round == 0
	}
	return fingerprint(k, id)%sw.rounds == sw.round
}

// eachMap calls fn for each map segment of an existing disk.
func (sw *sweep) eachMap(fn func(segmentOf) error) error {
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
		if err := fn(m); err != nil {
			return err
		}
	}
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
		if e.State == blockstore.Data && sw.ofRound(blockKind, name(e.ID)) {
			sw.live = append(sw.live, fingerprint(blockKind, name(e.ID)))
		}
	}
	if len(sw.live) > 2*max(sw.sorted, sweepBlocks/2) { // disks that share blocks name them often
		sw.sortLive()
	}
}

// orphan notes a disk that has a map and no record.
func (sw *sweep) orphan(disk uint64) {
	if !slices.Contains(sw.orphaned, disk) {
		sw.orphaned = append(sw.orphaned, disk)
	}
}

// alive reports whether the view needs a record.
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
