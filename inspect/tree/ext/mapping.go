package ext

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"sort"

	"github.com/imsfs/imsfs/inspect/disk"
)

const (
	extentMagic  = 0xf30a
	extentSize   = 12
	maxDepth     = 5
	unwrittenLen = 32768
)

// run is a run of blocks of a file in one state.
type run struct {
	at, count int64
	zero      bool
}

// run returns the run that begins at a block of a file.
func (f *fileSystem) run(ctx context.Context, n *inode, block int64) (run, error) {
	if block > math.MaxUint32 {
		return run{count: math.MaxInt64/f.blockSize - block, zero: true}, nil
	}
	var r run
	var err error
	if n.flags&flagExtents != 0 {
		r, err = f.extentRun(ctx, n, block)
	} else {
		r, err = f.mappedRun(ctx, n, block)
	}
	if err == nil && !r.zero && (r.at <= 0 || r.at > f.blocks-r.count) {
		return r, disk.Corrupt("ext", n.place(), "block %d is at [%d, +%d), there are %d blocks", block, r.at, r.count, f.blocks)
	}
	return r, err
}

// extentRun walks down the tree of extents. The level falls by one with each node.
func (f *fileSystem) extentRun(ctx context.Context, n *inode, block int64) (run, error) {
	node, place := n.block(), n.place()
	end := int64(math.MaxUint32) + 1 // the next node's first block
	for depth := -1; ; {
		count, level, limit := int(le16(node, 2)), int(le16(node, 6)), len(node)/extentSize-1
		switch {
		case le16(node, 0) != extentMagic:
			return run{}, disk.Corrupt("ext", place, "an extent node's magic is %#x", le16(node, 0))
		case count > limit:
			return run{}, disk.Corrupt("ext", place, "%d extents in a node, at most %d", count, limit)
		case depth >= 0 && level != depth-1 || level > maxDepth:
			return run{}, disk.Corrupt("ext", place, "depth %d: the level above has %d", level, depth)
		}
		key := func(i int) int64 { return int64(le32(node, extentSize*(i+1))) }
		next := sort.Search(count, func(i int) bool { return key(i) > block })
		if next < count {
			end = min(end, key(next))
		}
		if next == 0 || end <= block {
			return run{count: max(1, end-block), zero: true}, nil
		}
		e := node[extentSize*next:]
		if level == 0 {
			return leafRun(e, block, end), nil
		}
		at := int64(le32(e, 4)) | int64(le16(e, 8))<<32
		if at <= 0 || at >= f.blocks {
			return run{}, disk.Corrupt("ext", place, "an extent node at block %d of %d", at, f.blocks)
		}
		place = fmt.Sprintf("%s, extent node at block %d", n.place(), at)
		depth, node = level, make([]byte, f.blockSize)
		if err := f.read(ctx, node, at*f.blockSize, true); err != nil {
			return run{}, err
		}
	}
}

func leafRun(e []byte, block, end int64) run {
	first, count := int64(le32(e, 0)), int64(le16(e, 4))
	r := run{at: int64(le32(e, 8)) | int64(le16(e, 6))<<32}
	if count > unwrittenLen {
		count, r.zero = count-unwrittenLen, true
	}
	into := block - first
	if into >= count {
		return run{count: end - block, zero: true}
	}
	r.at, r.count = r.at+into, min(count-into, end-block)
	return r
}

// mappedRun follows the block pointers of ext2 and ext3: 12 in the inode, then up to three levels.
func (f *fileSystem) mappedRun(ctx context.Context, n *inode, block int64) (run, error) {
	perBlock := f.blockSize / 4
	pointers, index, span := n.block()[:48], block, int64(1)
	depth := 0
	if block >= 12 {
		index -= 12
		size := perBlock
		for depth = 1; index >= size; depth++ {
			if depth == 3 {
				return run{count: math.MaxUint32, zero: true}, nil
			}
			index -= size
			size *= perBlock
		}
		pointers, span = n.block()[48+4*(depth-1):][:4], size
	}
	for ; depth > 0; depth-- {
		i := index / span
		at := int64(le32(pointers, int(4*i)))
		index %= span
		if at == 0 {
			return run{count: span - index, zero: true}, nil
		}
		if at >= f.blocks {
			return run{}, disk.Corrupt("ext", n.place(), "pointers at block %d of %d", at, f.blocks)
		}
		pointers = make([]byte, f.blockSize)
		if err := f.read(ctx, pointers, at*f.blockSize, true); err != nil {
			return run{}, err
		}
		span /= perBlock
	}
	return pointerRun(pointers, int(index)), nil
}

// pointerRun joins the pointers that continue the one at index.
func pointerRun(pointers []byte, index int) run {
	first := le32(pointers, 4*index)
	r := run{at: int64(first), count: 1, zero: first == 0}
	for i := index + 1; 4*i < len(pointers); i++ {
		p := binary.LittleEndian.Uint32(pointers[4*i:])
		if r.zero && p != 0 || !r.zero && int64(p) != r.at+r.count {
			break
		}
		r.count++
	}
	return r
}
