package qcow

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/imsfs/imsfs/formats"
)

// checker is one Check under way. It goes through the file in passes, each of which keeps the
// claims of a window of it.
type checker struct {
	*lookup
	formats.Findings
	driver *Driver
	src    formats.Source
	out    func(formats.Problem)

	start, end int64 // of the window: claims that begin in it are kept
	claims     []claim
	limit      int   // of claims
	first      bool  // this pass reports wrong entries of the tables
	used       int64 // the file is accounted for up to here
}

// Check accounts for the space of the file itself, because the format does not.
func (d *Driver) Check(ctx context.Context, src formats.Source, _ formats.OpenOptions, report func(formats.Problem)) error {
	h, err := readHeader(ctx, src)
	if errors.Is(err, formats.ErrCorrupt) {
		report(formats.Problem{Text: sentence(err)})
		return nil
	}
	if err != nil {
		return err
	}
	c := &checker{lookup: newLookup(src, h), driver: d, src: src, out: report, limit: maxClaims, first: true}
	for c.start < c.file {
		c.claims, c.end = c.claims[:0], c.file
		if err := c.walk(ctx); err != nil {
			return err
		}
		if err := c.account(ctx); err != nil {
			return err
		}
		c.Release(c.end, c.out)
		c.start, c.first = c.end, false
	}
	c.leak(c.file)
	c.Report(report)
	return nil
}

// sentence returns an error's text without the driver's name.
func sentence(err error) string { return strings.TrimPrefix(err.Error(), name+": ") }

// walk goes through header and tables, and claims every place they name.
func (c *checker) walk(ctx context.Context) error {
	c.claim(claim{off: 0, n: headerSize, table: true})
	if c.backingOffset != 0 {
		c.claim(claim{off: int64(c.backingOffset), n: int64(c.backingSize), table: true})
	}
	c.claim(claim{off: int64(c.l1Table), n: c.l1Entries() * 8, table: true})
	page := make([]byte, min(l1Page, c.l1Entries()*8))
	table, walked := make([]byte, c.l2Size()), int64(0)
	for first := int64(0); first < c.l1Entries(); first += l1Page / 8 {
		page = page[:min(l1Page, (c.l1Entries()-first)*8)]
		at := int64(c.l1Table) + first*8
		if err := readAt(ctx, c.src, page, at, "L1 table"); err != nil {
			return err
		}
		for i := 0; i < len(page); i += 8 {
			l2 := binary.BigEndian.Uint64(page[i:])
			if l2 == 0 {
				continue
			}
			if problem := c.tableProblem(l2); problem != "" {
				c.entryDamage(at+int64(i), "L1 table: %s", problem)
				continue
			}
			c.claim(claim{off: int64(l2), n: c.l2Size(), table: true})
			// Tables that overlap can be without number.
			if walked += c.l2Size(); walked > c.file {
				c.entryDamage(at+int64(i), "L1 table: the L2 tables up to here take more than the file of %d bytes", c.file)
				return nil
			}
			if err := readAt(ctx, c.src, table, int64(l2), "L2 table"); err != nil {
				return err
			}
			c.walkL2(table, int64(l2), (first+int64(i/8))*c.l2Span())
		}
	}
	return nil
}

func (c *checker) entryDamage(off int64, format string, args ...any) {
	if c.first {
		c.Damage(off, format, args...)
	}
}

// walkL2 claims the clusters that the L2 table at an offset names. The table describes the disk's
// bytes at off.
func (c *checker) walkL2(table []byte, at, off int64) {
	for i := int64(0); i < int64(len(table)); i, off = i+8, off+c.cluster() {
		n := min(c.cluster(), c.diskSize()-off)
		if n <= 0 {
			return
		}
		s, problem := c.entry(binary.BigEndian.Uint64(table[i:]), 0, n)
		switch {
		case problem != "":
			c.entryDamage(at+i, "L2 table: entry for the disk's bytes at %d: %s", off, problem)
		case s.compressed:
			c.claim(claim{off: s.host, n: s.length, compressed: true})
		case s.state == formats.Data:
			c.claim(claim{off: s.host, n: c.cluster()})
		}
	}
}

// account goes through the window's claims in the order of the file. They must not overlap, and
// gaps between them are leaks unless they are padding. Compressed clusters are decoded.
func (c *checker) account(ctx context.Context) error {
	c.sort()
	for _, k := range c.claims {
		if k.n > 0 && k.off < c.used {
			c.Damage(k.off, "%s of %d bytes lies over something else, which ends at %#x", k.what(), k.n, c.used)
			c.used = max(c.used, k.off+k.n)
			continue // a small file with many entries for one cluster would take a day to decode
		}
		c.leak(k.off)
		c.used = max(c.used, k.off+k.n)
		if !k.compressed {
			continue
		}
		whole := c.driver.buffers.Get(c.cluster())
		err := c.driver.decode(ctx, c.src, *whole, k.off, k.n)
		c.driver.buffers.Put(whole)
		if errors.Is(err, formats.ErrCorrupt) {
			c.Damage(k.off, "%s", sentence(err))
		} else if err != nil {
			return err
		}
	}
	return nil
}

// leak reports the gap between the accounted part and the next claim. Up to a cluster is padding,
// and QEMU writes the L1 table in whole sectors.
func (c *checker) leak(next int64) {
	if next-c.used >= c.cluster()+formats.SectorSize {
		c.Leak(c.used, next-c.used)
	}
}
