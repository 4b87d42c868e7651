package vhd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// ref is a stored block: its first sector in the file, and its number.
type ref struct{ sector, block uint32 }

// table reads the whole BAT, also the entries past the disk's end. It reports blocks in impossible
// places and returns the others in file order.
func (c *checker) table(ctx context.Context, t *bat, entries int64) ([]ref, error) {
	var refs []ref
	for block := int64(0); block < entries; {
		p := c.page[:min(pageSize, (entries-block)*entrySize)]
		if err := c.read(ctx, p, t.at+block*entrySize, "BAT"); err != nil {
			return nil, err
		}
		for ; len(p) > 0; p, block = p[entrySize:], block+1 {
			sector := binary.BigEndian.Uint32(p)
			off := int64(sector) * sectorSize
			switch {
			case sector == unused:
			case !t.free(off):
				t.verify(block, off, c.Damage)
			case len(refs) == maxRefs:
				return nil, fmt.Errorf("vhd: more than %d stored blocks are not checked: %w", maxRefs, errors.ErrUnsupported)
			default:
				refs = append(refs, ref{sector, uint32(block)})
			}
		}
	}
	slices.SortFunc(refs, func(a, b ref) int { return cmp.Or(cmp.Compare(a.sector, b.sector), cmp.Compare(a.block, b.block)) })
	return refs, nil
}

// locators gives the places of a parent's names.
func (c *checker) locators(h *header, at, end int64) []span {
	if c.finds(func(r finding) { h.verifyLocators(at, end, r) }) {
		return nil
	}
	var spans []span
	for i, l := range h.locators {
		if l.code == [4]byte{} {
			continue
		}
		// By the specification space counts sectors, by Windows bytes.
		n := int64(l.space)
		if n < sectorSize {
			n *= sectorSize
		}
		spans = append(spans, span{int64(l.offset), max(n, int64(l.bytes)), fmt.Sprintf("parent locator %d", i)})
	}
	return spans
}

// batmap returns the place of XenServer's map of full blocks, which follows the BAT. The map is not
// used.
func (c *checker) batmap(ctx context.Context, t *bat) ([]span, error) {
	at := t.reserved[len(t.reserved)-1].end()
	if at > t.end-sectorSize {
		return nil, nil
	}
	b := make([]byte, sectorSize)
	if err := c.read(ctx, b, at, "batmap"); err != nil {
		return nil, err
	}
	off, sectors := binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint32(b[16:])
	if !bytes.HasPrefix(b, []byte("tdbatmap")) || !inside(off, uint64(sectors)*sectorSize, uint64(at), uint64(t.end)) {
		return nil, nil
	}
	return []span{{at, sectorSize, "the batmap's header"}, {int64(off), int64(sectors) * sectorSize, "the batmap"}}, nil
}

// sweep goes through the file by its structures and blocks, and reports overlaps and leaks.
func (c *checker) sweep(ctx context.Context, t *bat, spans []span, refs []ref) error {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.off, b.off) })
	var last span // the one that ends last so far
	for len(spans)+len(refs) > 0 {
		var s span
		if len(refs) == 0 || len(spans) > 0 && spans[0].off <= int64(refs[0].sector)*sectorSize {
			s, spans = spans[0], spans[1:]
		} else {
			s = span{int64(refs[0].sector) * sectorSize, t.bitmap + t.blockSize, fmt.Sprintf("block %d", refs[0].block)}
			refs = refs[1:]
		}
		if s.off < last.end() {
			c.Damage(s.off, "%s overlaps %s, [%#x, +%d)", s.what, last.what, last.off, last.n)
		}
		c.leak(last.end(), s.off)
		if s.end() > last.end() {
			last = s
		}
	}
	return c.tail(ctx, last.end(), t.end)
}

// tail looks at what lies between the last structure and the end of the data.
func (c *checker) tail(ctx context.Context, from, end int64) error {
	if end == c.src.Size() && end-from >= footerSize {
		s, err := readSeal(ctx, c.src, from, footerSize)
		if err != nil {
			return err
		}
		if s.fault == "" {
			c.Damage(from+footerSize, "%d bytes follow the footer", end-from-footerSize)
			return nil
		}
	}
	c.leak(from, end)
	return nil
}

// bitmaps reports sectors that a dynamic disk's bitmaps call unused though they have content.
// Readers that heed the bitmaps see zeros there; others (qemu, and this package) do not.
func (c *checker) bitmaps(ctx context.Context, t *bat, refs []ref) error {
	bitmap := make([]byte, t.bitmap)
	var end int64 // of the block before: one that overlaps it was looked at, and hostile tables name one block a million times
	for _, r := range refs {
		at := int64(r.sector) * sectorSize
		if at < end {
			continue
		}
		end = at + t.bitmap + t.blockSize
		if err := c.read(ctx, bitmap, at, "sector bitmap"); err != nil {
			return err
		}
		for sector := int64(0); sector < t.blockSize/sectorSize; {
			next, present := sectorRun(bitmap, sector, t.blockSize/sectorSize)
			used, err := c.used(ctx, present, at+t.bitmap+sector*sectorSize, at+t.bitmap+next*sectorSize)
			if err != nil {
				return err
			}
			if used {
				c.Damage(at, "sector bitmap of block %d: the sectors from %d on are called unused but hold data, which other programs may read as zeros", r.block, sector)
				break
			}
			sector = next
		}
	}
	return nil
}

// used reports whether [off, end), which is not marked as present, has bytes that are not zero.
func (c *checker) used(ctx context.Context, present bool, off, end int64) (bool, error) {
	if present {
		return false, nil
	}
	for ; off < end; off += int64(len(c.page)) {
		p := c.page[:min(int64(len(c.page)), end-off)]
		if err := c.read(ctx, p, off, "sectors"); err != nil {
			return false, err
		}
		if p[0] != 0 || !bytes.Equal(p[1:], p[:len(p)-1]) {
			return true, nil
		}
	}
	return false, nil
}

func (c *checker) read(ctx context.Context, p []byte, off int64, what string) error {
	if err := c.src.ReadAt(ctx, p, off); err != nil {
		return fmt.Errorf("vhd: %s at %#x: %w", what, off, err)
	}
	return nil
}
