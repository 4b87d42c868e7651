package vdi

import (
	"context"

	"github.com/imsfs/imsfs/formats"
)

// checker is one Check under way.
type checker struct {
	*image
	formats.Findings
	used      *formats.Usage // the blocks of the file
	allocated int64          // entries that have a block
}

func (d Driver) Check(ctx context.Context, src formats.Source, opts formats.OpenOptions, report func(formats.Problem)) error {
	h, err := readHeader(ctx, src)
	if err != nil {
		return err
	}
	var c checker
	defer c.Report(report)
	if c.breaks(h.identity()) {
		return nil
	}
	if err := h.supported(); err != nil {
		return err
	}
	if c.breaks(h.layout()) {
		return nil
	}
	c.image = &image{header: h, src: src, bmap: newMap(src)}
	c.used = formats.NewUsage(c.inFile())
	if err := c.blocks(ctx); err != nil {
		return err
	}
	if c.allocated != int64(h.blocksAllocated) {
		c.Damage(atBlocksAllocated, "blocks_allocated is %d, and the block map has %d blocks", h.blocksAllocated, c.allocated)
	}
	c.leaks()
	return nil
}

// breaks reports all broken rules, even if a later one is only broken because of an earlier one.
func (c *checker) breaks(rules []rule) bool {
	for _, r := range rules {
		if !r.ok {
			c.Damage(r.off, "%v", r)
		}
	}
	return !c.Empty()
}

// inFile is the number of blocks that the file has room for, at most those that an entry may name.
func (h *header) inFile() int64 {
	return min(max(0, h.fileSize-int64(h.offsetData)+int64(h.blockSize)-1)/int64(h.blockSize), int64(h.blocksInImage))
}

// blocks goes through the block map.
func (c *checker) blocks(ctx context.Context) error {
	for ci := int64(0); ci < int64(c.blocksInImage); {
		if err := ctx.Err(); err != nil {
			return err
		}
		list, err := c.entries(ctx, ci)
		if err != nil {
			return err
		}
		for i := range list.len() {
			c.entry(ci+i, list.at(i))
		}
		ci += list.len()
	}
	return nil
}

func (c *checker) entry(ci int64, entry uint32) {
	if stateOf(entry) != formats.Data {
		return
	}
	c.allocated++
	at := int64(c.offsetBmap) + ci*entrySize
	again := int64(entry) < c.inFile() && c.used.Use(int64(entry))
	switch {
	case entry >= c.blocksInImage:
		c.Damage(at, "block map entry of block %d is %#x, must be below blocks_in_image %#x", ci, entry, c.blocksInImage)
	case c.missing(ci, entry):
		c.Damage(at, "%s", c.outside(ci, entry))
	case again:
		c.Damage(at, "block map entry of block %d is %#x, which another block has, too", ci, entry)
	}
}

// leaks reports blocks of the file that no entry names, and the bytes after the last block.
func (c *checker) leaks() {
	size := int64(c.blockSize)
	end := int64(c.offsetData) + c.inFile()*size
	for from, to := range c.used.Unused() {
		at := c.block(uint32(from))
		c.Leak(at, min(int64(c.offsetData)+to*size, c.fileSize)-at)
	}
	if end < c.fileSize {
		c.Leak(end, c.fileSize-end)
	}
}
