package qcow2

import (
	"context"
	"encoding/binary"
)

// Limits of bitmaps: the first is QEMU's, the second ours.
const (
	maxBitmaps         = 65535
	maxBitmapDirectory = 16 << 20
	bitmapEntrySize    = 24
)

// countBitmaps counts the directory of the bitmaps, their tables and their clusters. They are
// ignored unless the header says that they are consistent.
func (c *checker) countBitmaps(ctx context.Context) error {
	b := c.ext.bitmaps
	if c.autoclear&autoclearBitmaps == 0 || b.count == 0 {
		return nil
	}
	if b.count > maxBitmaps || b.size > maxBitmapDirectory || b.off == 0 || b.off%uint64(c.cluster()) != 0 || !inside(b.off, b.size, uint64(c.size)) {
		c.bitmapDamage(int64(c.length), "bitmaps extension: the directory of %d bitmaps, %d bytes at %#x, must be at a multiple of the cluster size within the file, with at most %d bitmaps in %d bytes",
			b.count, b.size, b.off, maxBitmaps, maxBitmapDirectory)
		return nil
	}
	c.area(extent{int64(b.off), int64(b.size)}, 1)
	directory := make([]byte, b.size)
	if err := readAt(ctx, c.src, directory, int64(b.off), "bitmap directory"); err != nil {
		return err
	}
	tables := c.bitmapTables(directory)
	c.areas(tables)
	return sweep(tables, func(piece extent, n uint32) error { return c.walkBitmapTable(ctx, piece, n) })
}

func (c *checker) bitmapDamage(at int64, format string, args ...any) {
	if c.first {
		c.Damage(at, format, args...)
	}
}

// bitmapTables lists the tables that the entries of a directory refer to.
func (c *checker) bitmapTables(directory []byte) []extent {
	var tables []extent
	at := int64(c.ext.bitmaps.off)
	for range c.ext.bitmaps.count {
		if len(directory) < bitmapEntrySize {
			c.bitmapDamage(at, "bitmap directory: it ends before its last entry")
			break
		}
		off := binary.BigEndian.Uint64(directory)
		n := 8 * uint64(binary.BigEndian.Uint32(directory[8:]))
		size := bitmapEntrySize + int64(binary.BigEndian.Uint16(directory[18:])) + int64(binary.BigEndian.Uint32(directory[20:]))
		if off == 0 || off%uint64(c.cluster()) != 0 || !inside(off, n, uint64(c.size)) {
			c.bitmapDamage(at, "bitmap directory: the table of %d bytes at %#x must be at a multiple of the cluster size within the file", n, off)
		} else {
			tables = append(tables, extent{int64(off), int64(n)})
		}
		size = min((size+7)&^7, int64(len(directory)))
		directory, at = directory[size:], at+size
	}
	return tables
}

// walkBitmapTable counts the clusters that a piece of n bitmap tables refers to.
func (c *checker) walkBitmapTable(ctx context.Context, piece extent, n uint32) error {
	return c.pages(ctx, piece, "bitmap table", func(page []byte, at int64) error {
		for i := 0; i < len(page); i += 8 {
			off := int64(binary.BigEndian.Uint64(page[i:]) & offsetMask)
			switch {
			case off == 0:
			case off%c.cluster() != 0 || off > c.size-c.cluster():
				c.bitmapDamage(at+int64(i), "bitmap table: the cluster is at %#x, must be at a multiple of the cluster size within the file", off)
			default:
				c.refs.add(off>>c.clusterBits, useMeta, n)
			}
		}
		return nil
	})
}
