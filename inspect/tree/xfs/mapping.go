package xfs

import (
	"context"
	"fmt"
	"sort"

	"github.com/imsfs/imsfs/inspect/disk"
)

const (
	maxLevel    = 12
	extentBytes = 16
)

// run is a run of blocks of a fork in one state.
type run struct {
	at    int64 // byte offset on the disk
	count int64 // blocks
	zero  bool
}

// run returns the run that begins at a block, at most limit blocks long.
func (f *fileSystem) run(ctx context.Context, k *fork, block, limit int64) (run, error) {
	switch k.format {
	case formatExtents:
		if k.extents > uint64(len(k.bytes)/extentBytes) {
			return run{}, disk.Corrupt("xfs", k.place, "%d extents in %d bytes", k.extents, len(k.bytes))
		}
		return f.search(k, k.bytes[:k.extents*extentBytes], block, limit)
	case formatTree:
		return f.descend(ctx, k, block, limit)
	}
	return run{}, disk.Corrupt("xfs", k.place, "the fork's format is %d", k.format)
}

// search finds a block among the records of extents.
func (f *fileSystem) search(k *fork, records []byte, block, limit int64) (run, error) {
	record := func(i int) (hi, lo uint64) {
		return be64(records, int64(i)*extentBytes), be64(records, int64(i)*extentBytes+8)
	}
	start := func(i int) int64 { hi, _ := record(i); return int64(hi << 1 >> 10) }
	n := len(records) / extentBytes
	i := sort.Search(n, func(i int) bool { return start(i) > block })
	if i > 0 {
		hi, lo := record(i - 1)
		first, count := start(i-1), int64(lo&(1<<21-1))
		if block < first {
			return run{}, disk.Corrupt("xfs", k.place, "the extents are not in order")
		}
		if block-first < count {
			at, err := f.position(hi&0x1ff<<43|lo>>21, count)
			if err != nil {
				return run{}, disk.Corrupt("xfs", k.place, "%v", err)
			}
			return run{at + (block-first)*f.blockSize, min(limit, count-(block-first)), hi>>63 != 0}, nil
		}
	}
	if i < n {
		limit = min(limit, start(i)-block)
	}
	if limit < 1 {
		return run{}, disk.Corrupt("xfs", k.place, "the extents are not in order")
	}
	return run{0, limit, true}, nil
}

// descend walks down the tree of extents. The level falls by one with each block.
func (f *fileSystem) descend(ctx context.Context, k *fork, block, limit int64) (run, error) {
	p, place := k.bytes, k.place
	if len(p) < 4 {
		return run{}, disk.Corrupt("xfs", place, "no room for the root of its tree")
	}
	level, count, head := int64(be16(p, 0)), int64(be16(p, 2)), int64(4)
	if level < 1 || level > maxLevel {
		return run{}, disk.Corrupt("xfs", place, "the tree has level %d", level)
	}
	for {
		room := (int64(len(p)) - head) / 16
		if count > room || count < 1 {
			return run{}, disk.Corrupt("xfs", place, "%d records, room for %d", count, room)
		}
		if level == 0 {
			return f.search(k, p[head:head+count*extentBytes], block, limit)
		}
		key := func(i int) int64 { return int64(be64(p, head+int64(i)*8) << 10 >> 10) }
		i := sort.Search(int(count), func(i int) bool { return key(i) > block })
		if i < int(count) {
			limit = min(limit, key(i)-block)
		}
		if i == 0 {
			return run{0, max(limit, 1), true}, nil
		}
		number := be64(p, head+room*8+int64(i-1)*8)
		at, err := f.position(number, 1)
		if err != nil {
			return run{}, disk.Corrupt("xfs", place, "%v", err)
		}
		p, place = make([]byte, f.blockSize), fmt.Sprintf("%s, block 0x%x of its tree", k.place, number)
		if err := f.src.ReadMeta(ctx, p, at); err != nil {
			return run{}, err
		}
		magic := "BMAP"
		if head = 24; f.v5 {
			magic, head = "BMA3", 72
		}
		if string(p[:4]) != magic || int64(be16(p, 4)) != level-1 {
			return run{}, disk.Corrupt("xfs", place, "magic %q, level %d; %s of level %d", p[:4], be16(p, 4), magic, level-1)
		}
		level, count = level-1, int64(be16(p, 6))
	}
}

// blocksOf reads consecutive blocks of a fork as metadata. It reports false at a hole.
func (f *fileSystem) blocksOf(ctx context.Context, k *fork, p []byte, block int64) (bool, error) {
	for len(p) > 0 {
		r, err := f.run(ctx, k, block, int64(len(p))/f.blockSize)
		if err != nil || r.zero {
			return false, err
		}
		n := r.count * f.blockSize
		if err := f.src.ReadMeta(ctx, p[:n], r.at); err != nil {
			return false, err
		}
		p, block = p[n:], block+r.count
	}
	return true, nil
}
