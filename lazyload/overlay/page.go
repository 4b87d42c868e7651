package overlay

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
	"sync/atomic"

	"github.com/imsfs/imsfs/formats"
)

// state is where a unit's bytes are.
type state uint64

// The values are those of the bitmap; damaged is in memory only.
const (
	absent  state = iota // below
	written              // in the delta
	zero                 // nowhere: it reads as zeros
	damaged              // its page of the bitmap cannot be read
)

// everywhere is a word of 32 units in that state.
func (s state) everywhere() uint64 { return uint64(s) * 0x5555_5555_5555_5555 }

// The layout of a page's slot.
const (
	pageSize  = 4096
	pageHead  = 64
	pageWords = (pageSize - pageHead) / 8
	wordUnits = 32
	pageUnits = pageWords * wordUnits // 63 MiB of disk

	pageMagic = "page"
)

// page holds the states of pageUnits units. A word is changed under the lock of its region.
type page struct {
	words [pageWords]atomic.Uint64
	dirty atomic.Bool // the file has, or will have, an older version

	torn   bool // one of its slots is broken
	isLost bool // both are

	seq uint64 // of its slot in the file, 0 if it has none
	sum uint32 // that slot's checksum
}

// encode fills a slot with the page as it is now, under the sequence number seq.
func (p *page) encode(slot []byte, number int64, seq uint64) {
	clear(slot[:pageHead])
	copy(slot[4:], pageMagic)
	binary.LittleEndian.PutUint64(slot[8:], uint64(number))
	binary.LittleEndian.PutUint64(slot[16:], seq)
	for i := range p.words {
		binary.LittleEndian.PutUint64(slot[pageHead+8*i:], p.words[i].Load())
	}
	binary.LittleEndian.PutUint32(slot, checksum(slot[4:]))
}

// slotSeq returns the sequence number of a slot, 0 for one that was never written; or the rule it breaks.
func slotSeq(slot []byte, number, which int64) (seq uint64, broken string) {
	if formats.IsZero(slot) {
		return 0, ""
	}
	seq = binary.LittleEndian.Uint64(slot[16:])
	switch {
	case slotSum(slot) != checksum(slot[4:]):
		return 0, "its checksum does not match"
	case string(slot[4:8]) != pageMagic:
		return 0, "it does not begin as a page"
	case binary.LittleEndian.Uint64(slot[8:]) != uint64(number):
		return 0, fmt.Sprintf("it says it is page %d, and lies at page %d's place", binary.LittleEndian.Uint64(slot[8:]), number)
	case seq == 0 || int64(seq%2) != which:
		return 0, fmt.Sprintf("its sequence number is %d, and that does not belong into slot %d", seq, which)
	case !formats.IsZero(slot[24:pageHead]):
		return 0, "its reserved bytes are not zero"
	}
	for at := pageHead; at < pageSize; at += 8 {
		if w := binary.LittleEndian.Uint64(slot[at:]); w&(w>>1)&absentMask != 0 {
			return 0, "a unit is in no state there is"
		}
	}
	return seq, ""
}

// absentMask has the lower bit of each unit.
const absentMask = 0x5555_5555_5555_5555

// decode makes a page of a slot that slotSeq found good.
func decode(slot []byte, seq uint64) *page {
	p := &page{seq: seq, sum: slotSum(slot)}
	for i := range p.words {
		p.words[i].Store(binary.LittleEndian.Uint64(slot[pageHead+8*i:]))
	}
	return p
}

// lost is a page that cannot be read.
func lost() *page {
	p := &page{isLost: true}
	for i := range p.words {
		p.words[i].Store(damaged.everywhere())
	}
	return p
}

// written counts the units that are.
func (p *page) written() (n int64) {
	for i := range p.words {
		w := p.words[i].Load()
		n += int64(bits.OnesCount64(w &^ (w >> 1) & absentMask))
	}
	return n
}

// set puts the units [u, end) of the page into a state. It returns how many more of them are written then, and whether
// anything changed.
func (p *page) set(u, end int64, s state) (more int64, changed bool) {
	for u < end {
		n := min(wordUnits-u%wordUnits, end-u)
		mask := ^uint64(0) >> (64 - 2*n) << (2 * (u % wordUnits))
		w := &p.words[u/wordUnits]
		old := w.Load()
		now := old&^mask | s.everywhere()&mask
		if now != old {
			w.Store(now)
			changed = true
			more += int64(bits.OnesCount64(now&^(now>>1)&absentMask) - bits.OnesCount64(old&^(old>>1)&absentMask))
		}
		u += n
	}
	if changed {
		p.dirty.Store(true)
	}
	return more, changed
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// slotSum is the checksum that a slot bears.
func slotSum(slot []byte) uint32 { return binary.LittleEndian.Uint32(slot) }

// pagesSum is the checksum over all pages in the file: number, sequence number and checksum of
// each.
func (d *delta) pagesSum() uint32 {
	var b []byte
	for i := range d.pages {
		if p := d.pages[i].Load(); p != nil && p.seq > 0 {
			b = binary.LittleEndian.AppendUint64(b, uint64(i))
			b = binary.LittleEndian.AppendUint64(b, p.seq)
			b = binary.LittleEndian.AppendUint32(b, p.sum)
		}
	}
	return checksum(b)
}
