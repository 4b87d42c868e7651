package zvhd2

import (
	"math/rand/v2"
	"testing"

	"github.com/imsfs/imsfs/formats/zstream"
)

// TestFieldTableAgreesWithTheCodec changes each byte of a footer and wants the field that holds it to change, and
// no other: the table, decodeFooter and encode are three accounts of one layout.
func TestFieldTableAgreesWithTheCodec(t *testing.T) {
	end := 0
	for _, f := range fields {
		if f.Off != end {
			t.Fatalf("field %s starts at %d, the one before ends at %d", f.Name, f.Off, end)
		}
		end += f.Size
	}
	if end != footerSize {
		t.Fatalf("the fields end at %d of %d", end, footerSize)
	}
	b := make([]byte, unit)
	for i := range b[:zstream.FieldOffset(fields, "reserved")] {
		b[i] = byte(i + 1)
	}
	f := decodeFooter(b)
	if got := f.encode(); string(got) != string(b) {
		t.Errorf("encode gives\n%x, want\n%x", got[:footerSize], b[:footerSize])
	}
}

// randomTables are tables of random runs, with the truth beside them.
func randomTables(rnd *rand.Rand, blocks int) (*tables, []bool) {
	t := &tables{blocks: int64(blocks), bitmap: make([]uint64, ceilDiv(uint64(blocks), bitsPerSeg)*bitmapSegSize/8)}
	t.rank = make([]uint32, len(t.bitmap))
	truth := make([]bool, blocks)
	for at, stored := 0, rnd.IntN(2) == 0; at < blocks; stored = !stored {
		for end := min(blocks, at+1+rnd.IntN(1<<rnd.IntN(9))); at < end; at++ {
			truth[at] = stored
		}
	}
	for i, stored := range truth {
		if i%64 == 0 {
			t.rank[i/64] = uint32(len(t.refs))
		}
		if stored {
			t.bitmap[i/64] |= 1 << (i % 64)
			t.refs = append(t.refs, ref{block: uint32(i), size: unit})
		}
	}
	return t, truth
}

func TestTablesAgreeWithANaiveModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(23, 29))
	for _, blocks := range []int{1, 63, 64, 65, 500, 4096, 32768, 40000} {
		tab, truth := randomTables(rnd, blocks)
		size := int64(blocks + 100) // the disk goes on behind the bitmap
		at := func(b int64) bool { return b < int64(blocks) && truth[b] }
		for range 2000 {
			block := rnd.Int64N(size)
			limit := block + 1 + rnd.Int64N(size-block)
			r, ok := tab.lookup(block)
			if ok != at(block) || ok && int64(r.block) != block {
				t.Fatalf("%d blocks: lookup(%d) = %v, %v", blocks, block, r, ok)
			}
			want := block + 1
			for want < limit && at(want) == at(block) {
				want++
			}
			if got := tab.runEnd(block, limit); got != want {
				t.Fatalf("%d blocks: runEnd(%d, %d) = %d, want %d", blocks, block, limit, got, want)
			}
			next := block
			for next < int64(blocks) && !truth[next] {
				next++
			}
			if got := tab.nextStored(block); block < int64(blocks) && got != next {
				t.Fatalf("%d blocks: nextStored(%d) = %d, want %d", blocks, block, got, next)
			}
		}
	}
}
