package packs

import (
	"cmp"
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

// indexed is an entry of the index.
type indexed struct {
	kind kind
	id   name
	loc  location
}

func parseIndexed(e kv.Entry) (indexed, error) {
	if len(e.Key) != len(indexPrefix)+1+len(name{}) {
		return indexed{}, damagedKey(e.Key, "it has another length")
	}
	loc, err := parseLocation(e.Value)
	if err != nil {
		return indexed{}, damagedKey(e.Key, err.Error())
	}
	return indexed{kind(e.Key[len(indexPrefix)]), name(e.Key[len(indexPrefix)+1:]), loc}, nil
}

// atOnce is how many records are freed or moved under one hold of the writer's lock.
const atOnce = 256

// index frees the records that nothing needs.
func (sw *sweep) index() error {
	var dead []indexed
	for e, err := range sw.tx.Prefix([]byte(indexPrefix)) {
		if err == nil {
			err = sw.ctx.Err()
		}
		if err != nil {
			return err
		}
		entry, err := parseIndexed(e)
		if err != nil {
			return err
		}
		if sw.alive(entry.kind, entry.id) {
			sw.kept = append(sw.kept, extentOf(entry.loc))
			continue
		}
		if dead = append(dead, entry); len(dead) == atOnce {
			if err := sw.free(dead); err != nil {
				return err
			}
			dead = dead[:0]
		}
	}
	return sw.free(dead)
}

// free takes records out of the index that were not touched meanwhile.
func (sw *sweep) free(dead []indexed) error {
	s := sw.s
	s.writer.Lock()
	defer s.writer.Unlock()
	var freed blockstore.Freed
	err := s.change(func(b *batch) error {
		for _, e := range dead {
			now, ok, err := lookUp(b.tx, e.kind, e.id)
			if err != nil {
				return err
			}
			if ok && now == e.loc && s.touched.has(e.kind, e.id) {
				sw.kept = append(sw.kept, extentOf(e.loc))
			}
			if !ok || now != e.loc || s.touched.has(e.kind, e.id) {
				continue
			}
			if err := b.drop(e.kind, e.id); err != nil {
				return err
			}
			freed.Bytes += e.loc.size()
			if e.kind == blockKind {
				freed.Blocks++
			}
		}
		b.freed = nil // they are punched with their neighbours
		return nil
	})
	if err == nil {
		sw.freed.Bytes += freed.Bytes
		sw.freed.Blocks += freed.Blocks
	}
	return err
}

// shared deletes map segments that no map has any more.
func (sw *sweep) shared() error {
	var dead []op
	for e, err := range sw.tx.Prefix([]byte(segmentPrefix)) {
		if err != nil {
			return err
		}
		if _, ok := sw.segments[blockstore.SegmentID(e.Key[len(segmentPrefix):])]; !ok {
			dead = append(dead, op{e.Key, nil})
		}
	}
	sw.s.writer.Lock()
	defer sw.s.writer.Unlock()
	dead = slices.DeleteFunc(dead, func(o op) bool {
		return sw.s.touched.has(segmentKind, name(o.key[len(segmentPrefix):]))
	})
	return sw.s.write(dead...)
}

// quarantined forgets damaged blocks that no map names any more.
func (sw *sweep) quarantined() error {
	sw.s.writer.Lock()
	defer sw.s.writer.Unlock()
	for _, id := range sw.s.quarantine.all() {
		if sw.alive(blockKind, name(id)) || sw.s.touched.has(blockKind, name(id)) {
			continue
		}
		if err := sw.s.write(op{quarantineKey(id), nil}); err != nil {
			return err
		}
		sw.s.quarantine.remove(id)
	}
	return nil
}

// orphans deletes the maps of disks whose making or deleting was cut off.
func (sw *sweep) orphans() error {
	sw.s.writer.Lock()
	defer sw.s.writer.Unlock()
	for _, disk := range sw.orphaned {
		var there bool
		err := sw.s.db.View(func(tx *kv.Tx) error {
			v, err := find(tx, diskKey(diskPrefix, disk))
			there = v != nil
			return err
		})
		if err == nil && !there { // it may have been made since
			err = sw.s.clearDisk(disk)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// punch gives back what lies between the records that stay, and packs that have none.
func (sw *sweep) punch() error {
	slices.SortFunc(sw.kept, func(a, b extent) int {
		return cmp.Or(cmp.Compare(a.pack, b.pack), cmp.Compare(a.begin, b.begin))
	})
	packs, err := sw.s.files.list()
	if err != nil {
		return err
	}
	first := func(pack uint32) int {
		n, _ := slices.BinarySearchFunc(sw.kept, pack, func(e extent, pack uint32) int { return cmp.Compare(e.pack, pack) })
		return n
	}
	for _, pack := range packs {
		if err := sw.ctx.Err(); err != nil || pack > sw.pack {
			return err
		}
		// Not all that is kept must lie in a pack that is there: one may be lost.
		if err := sw.punchPack(pack, sw.kept[first(pack):first(pack+1)]); err != nil {
			return err
		}
	}
	return nil
}

func (sw *sweep) punchPack(pack uint32, kept []extent) error {
	if len(kept) == 0 && pack < sw.pack {
		return sw.s.files.remove(pack)
	}
	f, err := sw.s.files.get(pack)
	if err != nil {
		return nil // reads of it, if there are any, find what is wrong with it
	}
	end := sw.end
	if pack < sw.pack {
		if end, _, err = f.Size(); err != nil {
			return err
		}
	}
	at := int64(packHead)
	for _, e := range append(slices.Clip(kept), extent{begin: uint32(end / align), end: uint32(end / align)}) {
		if begin := int64(e.begin) * align; begin > at {
			if err := f.Punch(at, begin-at); err != nil {
				return fmt.Errorf("punch a hole in %s: %w", sw.s.files.path(pack), err)
			}
		}
		at = max(at, int64(e.end)*align)
	}
	return nil
}
