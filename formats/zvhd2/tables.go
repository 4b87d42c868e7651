package zvhd2

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"github.com/imsfs/imsfs/formats"
)

// tables are the bitmap and the index in memory: for each block whether it is stored, and where its
// chunk is.
type tables struct {
	blocks int64    // max_blk_num; blocks from there on are zeros
	bitmap []uint64 // bit n%64 of word n/64: block n is stored
	rank   []uint32 // for each word, the number of bits set before it
	refs   []ref    // one for every stored block, in the blocks' order
}

// tableBytes is what tables take in memory, at most: words with their ranks, and the index's
// entries.
func tableBytes(maxBlkNum uint32, entries uint64) uint64 {
	words := ceilDiv(uint64(maxBlkNum), bitsPerSeg) * bitmapSegSize / 8
	return words*(8+4) + entries*entrySize
}

// lookup finds the chunk of a block; ok is false if the block is zeros.
func (t *tables) lookup(block int64) (r ref, ok bool) {
	if !t.stored(block) {
		return ref{}, false
	}
	below := t.bitmap[block/64] & (1<<(block%64) - 1)
	return t.refs[int(t.rank[block/64])+bits.OnesCount64(below)], true
}

func (t *tables) stored(block int64) bool {
	return block < t.blocks && t.bitmap[block/64]>>(block%64)&1 != 0
}

// runEnd is the end, at most limit, of the run of blocks that are stored, or not, as this one is.
func (t *tables) runEnd(block, limit int64) int64 {
	stored := t.stored(block)
	for end := min(limit, t.blocks); block < end; {
		word := t.bitmap[block/64]
		if stored {
			word = ^word
		}
		// Shifting fills in zeros, which look like more of the run: go no further than the word.
		left := 64 - block%64
		same := min(int64(bits.TrailingZeros64(word>>(block%64))), left)
		block += same
		if same < left {
			break
		}
	}
	if !stored && block >= t.blocks { // past the bitmap all blocks are zeros
		return limit
	}
	return min(block, limit)
}

// nextStored is the first stored block from the given one on; t.blocks if there is none.
func (t *tables) nextStored(block int64) int64 {
	if t.stored(block) {
		return block
	}
	return t.runEnd(block, t.blocks)
}

// loadBitmap reads the bitmap of a verified footer and reports where it contradicts the footer.
func loadBitmap(ctx context.Context, src formats.Source, f *footer, report report) (*tables, error) {
	t := &tables{blocks: int64(f.maxBlkNum)}
	raw := make([]byte, f.bitmapSize)
	if err := src.ReadAt(ctx, raw, int64(f.bitmapLBA)); err != nil {
		return nil, fmt.Errorf("zvhd2: bitmap at %#x: %w", f.bitmapLBA, err)
	}
	t.bitmap = make([]uint64, len(raw)/8)
	t.rank = make([]uint32, len(raw)/8)
	count := 0
	for i := range t.bitmap {
		t.rank[i] = uint32(count)
		t.bitmap[i] = binary.LittleEndian.Uint64(raw[8*i:])
		if extra := t.bitmap[i] &^ t.mask(i); extra != 0 {
			block := int64(i)*64 + int64(bits.TrailingZeros64(extra))
			report(int64(f.bitmapLBA)+block/8, "bitmap: the bit of block %d is set, max_blk_num is %d", block, f.maxBlkNum)
			t.bitmap[i] &= t.mask(i)
		}
		count += bits.OnesCount64(t.bitmap[i])
	}
	if count != int(f.nonZeroBlkNum) {
		report(int64(f.bitmapLBA), "bitmap: %d bits are set, non_zero_blk_num is %d", count, f.nonZeroBlkNum)
	}
	return t, nil
}

// mask has the bits of word i that stand for blocks of the disk.
func (t *tables) mask(i int) uint64 {
	switch n := t.blocks - int64(i)*64; {
	case n >= 64:
		return ^uint64(0)
	case n > 0:
		return 1<<n - 1
	}
	return 0
}

// loadIndex reads the index of a verified footer into t.refs and reports every entry that breaks a
// rule or contradicts the bitmap; such entries are left out. Overlaps of chunks are left to
// overlap.
func (t *tables) loadIndex(ctx context.Context, src formats.Source, f *footer, report report) error {
	t.refs = make([]ref, 0, f.nonZeroBlkNum)
	seg := make([]byte, min(f.entries()*entrySize, indexSegSize))
	block := int64(-1)
	for i := int64(0); i < int64(f.entries()); {
		at := int64(f.indexLBA) + i*entrySize
		seg = seg[:min(int64(len(seg)), (int64(f.entries())-i)*entrySize)]
		if err := src.ReadAt(ctx, seg, at); err != nil {
			return fmt.Errorf("zvhd2: index at %#x: %w", at, err)
		}
		for e := seg; len(e) > 0; e = e[entrySize:] {
			block = t.expect(f, i, block)
			if r, problem := t.entry(f, e, block); problem != "" {
				report(int64(f.indexLBA)+i*entrySize, "index entry %d: %s", i, problem)
			} else if r.size > 0 {
				t.refs = append(t.refs, r)
			}
			i++
		}
	}
	return nil
}

// expect is the block that index entry i must be of, where the entry before it was of block prev.
func (t *tables) expect(f *footer, i, prev int64) int64 {
	if f.indexContainsZeroBlk != 0 {
		return i
	}
	return t.nextStored(prev + 1)
}

// entry decodes the index entry in b, which must be that of the given block. The result is empty
// for a block of zeros, which has an entry if index_contains_zero_blk is set.
func (t *tables) entry(f *footer, b []byte, block int64) (ref, string) {
	off, size := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[12:])
	r := ref{off: int64(off), block: binary.LittleEndian.Uint32(b[8:]), size: size}
	absent := off == 0 || size == 0
	switch {
	case !t.stored(block):
		if absent {
			return ref{}, ""
		}
		return ref{}, fmt.Sprintf("block %d has a chunk at %#x and its bit in the bitmap is clear", block, off)
	case absent:
		return ref{}, fmt.Sprintf("block %d has no chunk and its bit in the bitmap is set", block)
	case int64(r.block) != block:
		return ref{}, fmt.Sprintf("block number is %d, must be %d", r.block, block)
	case off%unit != 0 || size%unit != 0:
		return ref{}, fmt.Sprintf("block %d: offset %#x and length %d must be multiples of 4096", block, off, size)
	case int64(size) > maxChunkSize(f.blockSize):
		return ref{}, fmt.Sprintf("block %d: length %d is more than twice the block_size", block, size)
	case !inside(off, uint64(size), unit, f.indexLBA):
		return ref{}, fmt.Sprintf("block %d: [%#x, +%d) lies outside the data area, [0x1000, %#x)", block, off, size, f.indexLBA)
	}
	return r, ""
}

// overlap finds two chunks that share bytes.
func overlap(refs []ref) (a, b ref, found bool) {
	sorted := byOffset(refs)
	for i := range len(sorted) - 1 {
		if sorted[i].end() > sorted[i+1].off {
			return sorted[i], sorted[i+1], true
		}
	}
	return ref{}, ref{}, false
}

// byOffset gives the chunks in file order; refs itself where that is its order.
func byOffset(refs []ref) []ref {
	order := func(a, b ref) int { return cmp.Compare(a.off, b.off) }
	if slices.IsSortedFunc(refs, order) {
		return refs
	}
	return slices.SortedFunc(slices.Values(refs), order)
}
