package qcow2

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
)

// maxBatch bounds how many L2 tables are collected from L1 tables before they are walked, each
// once, however many snapshots share it.
const maxBatch = 1 << 18

// l2Table is an L2 table that L1 tables refer to.
type l2Table struct {
	references uint32
	active     bool // one of them is the active L1 table
}

// count walks the whole file and counts the references within the window.
func (c *checker) count(ctx context.Context) error {
	c.refs.add(0, useMeta, 1)
	c.area(extent{int64(c.snapshotTable), c.snapshotBytes}, 1)
	if c.stored.table != nil {
		c.area(extent{int64(c.refcountTable), int64(len(c.stored.table))}, 1)
	}
	for i := range c.stored.entries() {
		if block, ok := c.stored.block(i); ok {
			c.refs.add(int64(block)>>c.clusterBits, useMeta, 1)
		}
	}
	if err := c.countBitmaps(ctx); err != nil {
		return err
	}
	return c.countTables(ctx)
}

// area counts n references to all clusters of an extent, which is for metadata.
func (c *checker) area(e extent, n uint32) {
	if e.n == 0 {
		return
	}
	for cluster := max(e.off>>c.clusterBits, c.refs.start); cluster < min(c.clusters(e.off+e.n), c.refs.end); cluster++ {
		c.refs.add(cluster, useMeta, n)
	}
}

// areas is area for extents that may overlap. It takes time by the file's size, not by their
// number.
func (c *checker) areas(extents []extent) {
	var whole []extent
	for _, e := range extents {
		whole = append(whole, extent{e.off, c.clusters(e.n) << c.clusterBits})
	}
	sweep(whole, func(piece extent, n uint32) error { c.area(piece, n); return nil })
}

// l1Tables are the active L1 table and those of the snapshots.
func (c *checker) l1Tables() []extent {
	c.active = extent{int64(c.l1Table), int64(c.l1Size) * 8}
	list := []extent{c.active}
	for i := range c.snapshots {
		s := &c.snapshots[i]
		err := s.verifyL1(&c.geometry, c.size)
		if err == nil {
			list = append(list, extent{int64(s.l1Table), int64(s.l1Size) * 8})
		} else if c.first {
			c.damaged(err)
		}
	}
	return list
}

// countTables counts the L1 tables, and walks them and the L2 tables that they refer to.
func (c *checker) countTables(ctx context.Context) error {
	tables := c.l1Tables()
	c.areas(tables)
	batch := map[int64]l2Table{}
	err := sweep(tables, func(piece extent, n uint32) error { return c.walkL1(ctx, piece, n, batch) })
	if err != nil {
		return err
	}
	return c.walkBatch(ctx, batch)
}

// pages reads an extent in pieces. visit must not keep them.
func (c *checker) pages(ctx context.Context, e extent, what string, visit func(page []byte, at int64) error) error {
	buf := make([]byte, min(e.n, tablePage))
	for e.n > 0 {
		page := buf[:min(e.n, tablePage)]
		if err := readAt(ctx, c.src, page, e.off, what); err != nil {
			return err
		}
		if err := visit(page, e.off); err != nil {
			return err
		}
		e.off, e.n = e.off+int64(len(page)), e.n-int64(len(page))
	}
	return nil
}

// walkL1 collects the L2 tables that a piece of n L1 tables refers to.
func (c *checker) walkL1(ctx context.Context, piece extent, n uint32, batch map[int64]l2Table) error {
	active := piece.off >= c.active.off && piece.off < c.active.off+c.active.n
	return c.pages(ctx, piece, "L1 table", func(page []byte, at int64) error {
		for i := 0; i < len(page); i += 8 {
			e := binary.BigEndian.Uint64(page[i:])
			if e == 0 {
				continue
			}
			l2, err := c.l1Entry(ctx, e, at+int64(i), active)
			if err != nil {
				return err
			}
			if l2 == 0 {
				continue
			}
			t := batch[l2]
			batch[l2] = l2Table{t.references + n, t.active || active}
			if len(batch) == maxBatch {
				if err := c.walkBatch(ctx, batch); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// l1Entry checks an L1 entry and returns the offset of its L2 table, 0 if it has none in the file.
func (c *checker) l1Entry(ctx context.Context, e uint64, at int64, active bool) (l2 int64, err error) {
	l2 = int64(e & offsetMask)
	sound := l2%c.cluster() == 0 && l2 <= c.size-c.cluster()
	if c.first {
		if e&l1Reserved != 0 {
			c.Damage(at, "L1 table: the entry %#016x has reserved bits set", e)
		}
		if !sound {
			c.Damage(at, "L1 table: the L2 table is at %#x, must be at a multiple of the cluster size within the file", l2)
		} else if l2 != 0 && active {
			err = c.copied(ctx, at, "L1 table", e, l2)
		}
	}
	if !sound {
		return 0, err
	}
	return l2, err
}

// copied checks the flag of an entry of the active state, which says that the cluster has no other
// reference.
func (c *checker) copied(ctx context.Context, at int64, what string, e uint64, host int64) error {
	refcount, known, err := c.stored.get(ctx, host>>c.clusterBits)
	if err == nil && known && (refcount == 1) != (e&flagCopied != 0) {
		c.Damage(at, "%s: the entry %#016x must have bit 63 set if, and only if, the cluster's refcount, which is %d, is 1", what, e, refcount)
	}
	return err
}

// walkBatch walks the L2 tables of the batch, in the order of the file, and empties it.
func (c *checker) walkBatch(ctx context.Context, batch map[int64]l2Table) error {
	for _, off := range slices.Sorted(maps.Keys(batch)) {
		t := batch[off]
		c.refs.add(off>>c.clusterBits, useL2, t.references)
		if err := c.walkL2(ctx, off, t); err != nil {
			return err
		}
	}
	clear(batch)
	return nil
}
