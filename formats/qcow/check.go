package qcow

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/imsfs/imsfs/formats"
)

// maxHeld bounds the findings that are held back to be reported in file order.
const maxHeld = 10_000

// checker is one Check under way. It goes through the file in passes, each of which keeps the claims of a window of it.
type checker struct {
	*lookup
	driver *Driver
	src    formats.Source
	out    func(formats.Problem)

	start, end int64 // of the window: claims that begin in it are kept
	claims     []claim
	limit      int   // of claims
	first      bool  // pass: the one that reports what is wrong with the tables
	used       int64 // the file is accounted for up to here
	held       []formats.Problem
	lost       int // findings beyond maxHeld
}

// Check is the formats.Checker method. The format keeps no account of its space, so check makes one.
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
		c.release(c.end)
		c.start, c.first = c.end, false
	}
	c.leak(c.file)
	c.release(math.MaxInt64)
	if c.lost > 0 {
		report(formats.Problem{Off: c.file, Text: fmt.Sprintf("%d more problems are not listed", c.lost)})
	}
	return nil
}

// sentence is an error's without the driver's name in front.
func sentence(err error) string { return strings.TrimPrefix(err.Error(), name+": ") }

func (c *checker) damage(off int64, format string, args ...any) {
	c.hold(formats.Problem{Off: off, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) hold(p formats.Problem) {
	if len(c.held) == maxHeld {
		c.lost++
		return
	}
	c.held = append(c.held, p)
}

// release reports, in order, what is held about the file up to an offset.
func (c *checker) release(end int64) {
	slices.SortStableFunc(c.held, func(a, b formats.Problem) int { return cmp.Compare(a.Off, b.Off) })
	n, _ := slices.BinarySearchFunc(c.held, end, func(p formats.Problem, end int64) int { return cmp.Compare(p.Off, end) })
	for _, p := range c.held[:n] {
		c.out(p)
	}
	c.held = slices.Delete(c.held, 0, n)
}

// walk goes through header and tables, and claims what they refer to.
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
			// Tables that lie over one another can be without number.
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
		c.damage(off, format, args...)
	}
}

// walkL2 claims what the L2 table at an offset refers to, which describes the disk's bytes at off.
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

// account goes through the window's claims in the order of the file: they must not overlap, and what is between them is lost
// but for padding. Compressed clusters are decoded.
func (c *checker) account(ctx context.Context) error {
	c.sort()
	for _, k := range c.claims {
		if k.n > 0 && k.off < c.used {
			c.damage(k.off, "%s of %d bytes lies over something else, which ends at %#x", k.what(), k.n, c.used)
			c.used = max(c.used, k.off+k.n)
			continue // a small file with many entries for one cluster would take a day to decode
		}
		c.leak(k.off)
		c.used = max(c.used, k.off+k.n)
		if !k.compressed {
			continue
		}
		whole := c.driver.buffer(c.cluster())
		err := c.driver.decode(ctx, c.src, *whole, k.off, k.n)
		c.driver.buffers.Put(whole)
		if errors.Is(err, formats.ErrCorrupt) {
			c.damage(k.off, "%s", sentence(err))
		} else if err != nil {
			return err
		}
	}
	return nil
}

// leak reports what is lost between what has been accounted for and the next claim. Up to a cluster is padding, and QEMU writes
// the L1 table in whole sectors.
func (c *checker) leak(next int64) {
	if next-c.used >= c.cluster()+formats.SectorSize {
		c.hold(formats.Problem{Off: c.used, Text: fmt.Sprintf("%d bytes belong to nothing", next-c.used), Leak: true})
	}
}
