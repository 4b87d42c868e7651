package qed

import (
	"context"
	"errors"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// maxClusters bounds the memory of Check, a bit for each cluster of the file, to formats.MaxTables:
// 2 TiB of the smallest clusters, in which a disk has 256 GiB at most, and 32 TiB of the usual
// ones.
const maxClusters = formats.MaxTables * 8

// checker is one Check under way.
type checker struct {
	*reader
	formats.Findings
	used *formats.Usage // clusters of the file
}

func (Driver) Check(ctx context.Context, src formats.Source, _ formats.OpenOptions, report func(formats.Problem)) error {
	h, err := readHeader(ctx, src)
	if err != nil {
		return err
	}
	var c checker
	defer c.Report(report)
	if problem := h.identity(); problem != "" {
		c.Damage(0, "%s", problem)
		return nil
	}
	if err := h.supported(); err != nil {
		return err
	}
	if c.breaks(h.units()) || c.breaks(h.layout()) {
		return nil
	}
	if _, err := h.backing(ctx, src); errors.Is(err, formats.ErrCorrupt) {
		c.Damage(int64(h.backingNameOffset), "backing file name: it must not have a zero byte")
	} else if err != nil {
		return err
	}
	if n := h.fileSize / h.cluster(); n > maxClusters {
		return fmt.Errorf("qed: a file of %d clusters: at most %d are checked: %w", n, int64(maxClusters), errors.ErrUnsupported)
	}
	c.reader = newReader(h, src)
	return c.clusters(ctx)
}

// breaks reports the rules that are broken.
func (c *checker) breaks(rules []rule) (any bool) {
	for _, r := range rules {
		if !r.ok {
			c.Damage(r.off, "%v", r)
			any = true
		}
	}
	return any
}

// clusters finds out what each cluster of the file is used for.
func (c *checker) clusters(ctx context.Context) error {
	c.used = formats.NewUsage(c.fileSize / c.cluster())
	c.use(0, c.headerEnd())
	c.use(c.l1TableOffset, c.tableBytes())
	err := c.table(ctx, int64(c.l1TableOffset), "L1", func(at, i int64, entry uint64) error {
		if entry == unallocated || !c.claim(at, i, "L1", entry, c.tableBytes()) {
			return nil
		}
		return c.table(ctx, int64(entry), "L2", func(at, i int64, entry uint64) error {
			if stateOf(entry) == formats.Data {
				c.claim(at, i, "L2", entry, c.cluster())
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for from, to := range c.used.Unused() {
		c.Leak(from*c.cluster(), (to-from)*c.cluster())
	}
	if tail := c.fileSize % c.cluster(); tail > 0 {
		c.Leak(c.fileSize-tail, tail)
	}
	return nil
}

// table calls each for all entries of a table, with their places in the file and their numbers.
func (c *checker) table(ctx context.Context, table int64, what string, each func(at, i int64, entry uint64) error) error {
	for first := int64(0); first < c.perTable(); {
		if err := ctx.Err(); err != nil {
			return err
		}
		list, err := c.entries(ctx, table, first, what+" table")
		if err != nil {
			return err
		}
		for i := range list.len() {
			if err := each(table+(first+i)*entrySize, first+i, list.at(i)); err != nil {
				return err
			}
		}
		first += list.len()
	}
	return nil
}

// claim marks the clusters of an entry. An entry that is wrong, or names clusters in use, must not
// be followed.
func (c *checker) claim(at, i int64, what string, entry uint64, n int64) bool {
	if why := c.misplaced(entry, n); why != "" {
		c.Damage(at, "%s entry %d is %#x: %s", what, i, entry, why)
		return false
	}
	if c.use(entry, n) {
		c.Damage(at, "%s entry %d is %#x, where something else is, too", what, i, entry)
		return false
	}
	return true
}

// use marks n bytes at an offset, both whole clusters, and reports whether some of them were marked
// before.
func (c *checker) use(off uint64, n int64) (again bool) {
	for at := int64(off); at < int64(off)+n; at += c.cluster() {
		again = c.used.Use(at/c.cluster()) || again
	}
	return again
}
