package packs

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

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

// atOnce is the number of records that are freed or moved under one hold of the writer's lock.
const atOnce = 256

// index frees the round's records that nothing needs.
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
		if !sw.ofRound(entry.kind, entry.id) || sw.alive(entry.kind, entry.id) {
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

// free drops dead records from the index. It keeps those that were touched since the sweep began.
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

// shared deletes map segments that no map names.
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

// quarantined forgets damaged blocks that no map names.
func (sw *sweep) quarantined() error {
	sw.s.writer.Lock()
	defer sw.s.writer.Unlock()
	for _, id := range sw.s.quarantine.all() {
		if !sw.ofRound(blockKind, name(id)) || sw.alive(blockKind, name(id)) || sw.s.touched.has(blockKind, name(id)) {
			continue
		}
		if err := sw.s.write(op{quarantineKey(id), nil}); err != nil {
			return err
		}
		sw.s.quarantine.remove(id)
	}
	return nil
}

// orphans deletes the maps of disks that were not fully created or deleted.
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

// punch frees the space between live records, and removes packs without any. It reads the index
// once for each group of packs, which bounds the memory for their places.
func (sw *sweep) punch() error {
	packs, err := sw.s.files.list()
	if err != nil {
		return err
	}
	packs = slices.DeleteFunc(packs, func(pack uint32) bool { return pack > sw.pack })
	for group := range slices.Chunk(packs, punchPacks) {
		if err := sw.punchGroup(group); err != nil {
			return err
		}
	}
	return nil
}

// punchPacks is the number of packs in a group. A pack has about 50,000 records, and a place takes
// 12 bytes.
const punchPacks = 32

func (sw *sweep) punchGroup(packs []uint32) error {
	kept, err := sw.keptIn(packs[0], packs[len(packs)-1])
	if err != nil {
		return err
	}
	first := func(pack uint32) int {
		n, _ := slices.BinarySearchFunc(kept, pack, func(e extent, pack uint32) int { return cmp.Compare(e.pack, pack) })
		return n
	}
	for _, pack := range packs {
		if err := sw.ctx.Err(); err != nil {
			return err
		}
		// A record may be in a pack that is lost, so the places are looked up by pack.
		if err := sw.punchPack(pack, kept[first(pack):first(pack+1)]); err != nil {
			return err
		}
	}
	return nil
}

// keptIn returns the places of indexed records in packs first to last, in order. It leaves out
// records that were appended since the sweep began.
func (sw *sweep) keptIn(first, last uint32) (kept []extent, err error) {
	err = sw.s.eachIndexed(func(e indexed) {
		late := e.loc.pack == sw.pack && e.loc.off >= sw.end
		if e.loc.pack >= first && e.loc.pack <= last && !late {
			kept = append(kept, extentOf(e.loc))
		}
	})
	slices.SortFunc(kept, func(a, b extent) int {
		return cmp.Or(cmp.Compare(a.pack, b.pack), cmp.Compare(a.begin, b.begin))
	})
	return kept, err
}

func (sw *sweep) punchPack(pack uint32, kept []extent) error {
	if len(kept) == 0 && pack < sw.pack {
		return sw.s.files.remove(pack)
	}
	f, err := sw.s.files.get(pack)
	if err != nil {
		return nil // reads of it report the error
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
