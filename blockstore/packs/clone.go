package packs

import (
	"fmt"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

// Clone copies whole segments by reference. If the sizes differ, it builds the segment at the
// smaller disk's end anew.
func (s *Store) Clone(from, to uint64, size int64, note string) error {
	s.writer.Lock()
	defer s.writer.Unlock()
	c := cloning{from: from, to: to, size: size, edge: -1}
	err := s.db.View(c.read)
	if err != nil {
		return fmt.Errorf("clone: %w", err)
	}
	groups := append(c.groups, []op{{diskKey(countPrefix, to), c.count.encode()}})
	if err := s.makeDisk(to, diskRecord{Size: size, Note: note}, groups...); err != nil {
		return err
	}
	return s.change(c.finish)
}

// cloning is the state of one Clone.
type cloning struct {
	from, to uint64
	size     int64
	was      int64 // from's size

	groups [][]op
	count  count // of the blocks in groups
	edge   int64 // the segment that is made anew, -1 if there is none
}

// read collects the changes that copy whole segments.
func (c *cloning) read(tx *kv.Tx) error {
	rec, err := readDisk(tx, c.from)
	if err != nil {
		return err
	}
	c.was = rec.Size
	if c.size != c.was {
		c.edge = min(c.size, c.was) / blockstore.SegmentSize
	}
	for m, err := range mapOf(tx, c.from) {
		if err != nil {
			return err
		}
		if c.edge >= 0 && m.seg >= c.edge {
			break
		}
		loaded, data := m.mapped.count(blockstore.SegmentLen(c.was, m.seg))
		c.count.loaded += loaded
		c.count.data += data
		c.groups = append(c.groups, []op{{place{c.to, m.seg}.key(mapPrefix), m.encode()}})
	}
	return nil
}

// finish enters the blocks of the segment at the edge. A complete disk also gets root records of
// its own.
func (c *cloning) finish(b *batch) error {
	d, err := b.disk(c.to)
	if err != nil {
		return err
	}
	d.edited = d.complete()
	if c.edge < 0 || c.edge >= min(blockstore.Segments(c.was), blockstore.Segments(c.size)) {
		return nil
	}
	segment, err := readSegment(b.tx, place{c.from, c.edge}, blockstore.SegmentLen(c.was, c.edge))
	if err != nil {
		return err
	}
	whole := blockstore.SegmentLen(c.size, c.edge) // of its blocks, those that are not cut
	if c.size < c.was && c.size%blockstore.BlockSize != 0 {
		whole--
	}
	for i, e := range segment[:min(whole, len(segment))] {
		if err := b.set(place{c.to, c.edge}, d, i, e); err != nil {
			return err
		}
	}
	return nil
}
