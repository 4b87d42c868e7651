package packs

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

// batch collects the changes of one commit: index entries first, then shared segments, then maps.
// The counts of a disk change together with its map segments. Any prefix of the changes that a kill
// leaves is a whole store. Records are appended to the pack while the batch is built. The caller
// holds the writer's lock.
type batch struct {
	s  *Store
	tx *kv.Tx // the store as it was before

	index  []op
	shared []op
	maps   [][]op

	added    map[name]location // records of this batch, by kind and name mixed
	changed  map[place]*change
	places   []place // the keys of changed, in the order they came
	disks    map[uint64]*diskState
	counts   counts
	appended int64
	freed    []location // records that left the index
	healed   []blockstore.ID
}

// change is a changed map segment: its new entries, and its counts before the change.
type change struct {
	entries blockstore.Segment
	before  count
	edited  bool
}

// diskState is a disk's record and counts. The counts follow the changes of the batch.
type diskState struct {
	rec         diskRecord
	count       count
	wasComplete bool
	edited      bool
}

func (d *diskState) complete() bool { return d.count.loaded == blockstore.Blocks(d.rec.Size) }

func (s *Store) newBatch(tx *kv.Tx) *batch {
	return &batch{
		s: s, tx: tx, counts: s.counts,
		added: map[name]location{}, changed: map[place]*change{}, disks: map[uint64]*diskState{},
	}
}

// commit enters requests. A returned error is for all of them; a request that fails alone has its
// own error in err.
func (s *Store) commit(reqs []*request) error {
	return s.change(func(b *batch) error {
		for _, req := range reqs {
			if err := b.save(req); err != nil {
				return err
			}
		}
		return nil
	})
}

// change builds a batch and enters it. The caller holds the writer's lock.
func (s *Store) change(build func(*batch) error) error {
	var b *batch
	err := s.db.View(func(tx *kv.Tx) error {
		b = s.newBatch(tx)
		if err := build(b); err != nil {
			return err
		}
		return b.finish()
	})
	if err == nil {
		err = s.tail.sync()
	}
	if err != nil {
		s.tail.abandon()
		return err
	}
	return b.enter()
}

// save adds a request. The request's own failure goes into req.err; a returned error fails the
// whole batch.
func (b *batch) save(req *request) error {
	d, err := b.disk(req.disk)
	if err == nil {
		err = b.room(d, req)
	}
	if errors.Is(err, blockstore.ErrFull) {
		b.s.refused = max(b.s.refused, req.size())
	}
	if err != nil {
		req.err = err
		return nil
	}
	for i := range req.blocks {
		if err := b.block(req.disk, d, req.first+int64(i), &req.blocks[i]); err != nil {
			return err
		}
	}
	return nil
}

// room returns an error if a request's new records exceed the limits.
func (b *batch) room(d *diskState, req *request) error {
	need := req.size()
	if need == 0 {
		return nil
	}
	used, opts := b.s.used+b.appended, b.s.opts
	if opts.Limit > 0 && d.rec.Evictable && used+need > opts.Limit {
		return fmt.Errorf("%d bytes are used of %d: %w", used, opts.Limit, blockstore.ErrFull)
	}
	free, err := b.s.files.free()
	if err != nil {
		return err
	}
	if free -= b.appended + need; free < opts.FreeFloor {
		return fmt.Errorf("the file system would be left with less than %d bytes: %w (%w)", opts.FreeFloor, blockstore.ErrFull, unix.ENOSPC)
	}
	return nil
}

// disk returns the state of a disk. It reads the state once for each batch.
func (b *batch) disk(disk uint64) (*diskState, error) {
	if d := b.disks[disk]; d != nil {
		return d, nil
	}
	rec, err := readDisk(b.tx, disk)
	if err != nil {
		return nil, err
	}
	n, err := readCount(b.tx, disk)
	if err != nil {
		return nil, err
	}
	d := &diskState{rec: rec, count: n}
	d.wasComplete = d.complete()
	b.disks[disk] = d
	return d, nil
}

// block enters one block, and its record if the store lacks it.
func (b *batch) block(disk uint64, d *diskState, block int64, p *prepared) error {
	if p.entry.State == blockstore.Data {
		id := p.entry.ID
		known, err := b.has(blockKind, name(id))
		if err != nil {
			return err
		}
		if !known {
			if p.record == nil { // it was swept since it was looked up
				b.makeRecord(p)
			}
			if err := b.put(blockKind, name(id), *p.record, p.loc); err != nil {
				return err
			}
		}
		b.s.touched.add(blockKind, name(id))
		if b.s.quarantine.has(id) {
			b.index = append(b.index, op{quarantineKey(id), nil})
			b.healed = append(b.healed, id)
		}
	}
	return b.set(place{disk, block / blockstore.SegmentBlocks}, d, int(block%blockstore.SegmentBlocks), p.entry)
}

// makeRecord makes the record that prepare left out because the store had the block at that time.
func (b *batch) makeRecord(p *prepared) {
	b.s.cpus <- struct{}{}
	defer func() { <-b.s.cpus }()
	b.s.makeRecord(p)
}

// has reports whether the store or this batch has a record.
func (b *batch) has(k kind, id name) (bool, error) {
	if _, ok := b.added[mix(k, id)]; ok {
		return true, nil
	}
	_, ok, err := lookUp(b.tx, k, id)
	return ok, err
}

// mix combines a kind and a name into one name.
func mix(k kind, id name) name {
	id[0] ^= byte(k)
	return id
}

// put appends a record and its index entry.
func (b *batch) put(k kind, id name, record []byte, loc location) error {
	var err error
	if loc.pack, loc.off, err = b.s.tail.append(record); err != nil {
		return err
	}
	b.added[mix(k, id)] = loc
	b.index = append(b.index, op{indexKey(k, id), loc.encode()})
	b.appended += loc.size()
	b.counts.add(k, loc, 1)
	return nil
}

// drop removes a record from the index.
func (b *batch) drop(k kind, id name) error {
	loc, ok, err := lookUp(b.tx, k, id)
	if err != nil || !ok {
		return err
	}
	b.index = append(b.index, op{indexKey(k, id), nil})
	b.freed = append(b.freed, loc)
	b.counts.add(k, loc, -1)
	return nil
}

// add adds a record to the counts; with sign -1 it subtracts the record.
func (c *counts) add(k kind, loc location, sign int64) {
	c.stored += sign * loc.size()
	if k == blockKind {
		c.blocks += sign
	}
}

// set changes one entry of a map.
func (b *batch) set(p place, d *diskState, i int, e blockstore.Entry) error {
	c := b.changed[p]
	if c == nil {
		segment, err := readSegment(b.tx, p, blockstore.SegmentLen(d.rec.Size, p.seg))
		if err != nil {
			return err
		}
		c = &change{entries: segment}
		c.before.loaded, c.before.data = segment.Count()
		b.changed[p] = c
		b.places = append(b.places, p)
	}
	if c.entries[i] != e {
		c.entries[i] = e
		c.edited = true
		d.edited = true
	}
	return nil
}

// finish builds the changes of the maps. It writes root records for disks that became complete, and
// drops those of disks that are incomplete now.
func (b *batch) finish() error {
	for _, p := range b.places {
		c := b.changed[p]
		if !c.edited {
			continue
		}
		m, err := b.mapped(c.entries)
		if err != nil {
			return err
		}
		b.mapTo(p, b.disks[p.disk], c.before, m, len(c.entries))
	}
	for disk, d := range b.disks {
		var err error
		switch {
		case d.edited && d.complete():
			err = b.addRoots(disk, d)
		case d.wasComplete && !d.complete():
			err = b.dropRoots(disk, d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mapped returns the database's form of a segment, and stores a complete segment as a shared one.
func (b *batch) mapped(segment blockstore.Segment) (mapped, error) {
	if !segment.Complete() {
		return mapped{private: segment}, nil
	}
	id := segment.ID()
	_, data := segment.Count()
	m := mapped{shared: id, data: data}
	b.s.touched.add(segmentKind, name(id))
	v, err := find(b.tx, segmentKey(id))
	if err != nil {
		return m, err
	}
	encoded := segment.AppendTo(nil)
	if v == nil {
		b.shared = append(b.shared, op{segmentKey(id), encoded})
	}
	if known, err := b.has(segmentKind, name(id)); err != nil || known {
		return m, err
	}
	record, loc := appendRecord(nil, nil, segmentKind, name(id), encoded)
	return m, b.put(segmentKind, name(id), record, loc)
}

// mapTo sets a map's segment to m and adjusts the disk's counts. The segment has n entries, and
// before holds its old counts.
func (b *batch) mapTo(p place, d *diskState, before count, m mapped, n int) {
	loaded, data := m.count(n)
	d.count.loaded += loaded - before.loaded
	d.count.data += data - before.data
	b.maps = append(b.maps, []op{
		{p.key(mapPrefix), m.encode()},
		{diskKey(countPrefix, p.disk), d.count.encode()},
	})
}

// clear makes a map's segment absent.
func (b *batch) clear(p place, d *diskState, before count) {
	d.edited = true
	d.count.loaded -= before.loaded
	d.count.data -= before.data
	b.changed[p] = &change{}
	b.maps = append(b.maps, []op{
		{p.key(mapPrefix), nil},
		{p.key(usePrefix), nil},
		{diskKey(countPrefix, p.disk), d.count.encode()},
	})
}
