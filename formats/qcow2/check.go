package qcow2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/imsfs/imsfs/formats"
)

// maxHeld bounds the findings that are held back to be reported in file order.
const maxHeld = 10_000

// checker is one Check under way.
type checker struct {
	driver *Driver
	src    formats.Source
	*file
	geometry
	size   int64 // of the source
	data   int64 // of the file that has the clusters
	stored *storedRefcounts
	out    func(formats.Problem)

	// The file is gone through in passes, each of which counts references within a window of clusters.
	refs  *counter
	first bool // pass: the one that reports what is wrong with the tables
	held  []formats.Problem
	lost  int // findings beyond maxHeld

	active  extent // of the active L1 table
	decoded int64  // compressed bytes so far
}

// extent is [off, off+n) of the file.
type extent struct{ off, n int64 }

// Check is the formats.Checker method. It counts the references to each cluster and compares them with the refcounts, looks
// at every table entry, and decodes the compressed clusters of the active state.
func (d *Driver) Check(ctx context.Context, src formats.Source, opts formats.OpenOptions, report func(formats.Problem)) error {
	c := &checker{driver: d, src: src, size: src.Size(), out: report, first: true}
	f, err := readFirst(ctx, src)
	if err == nil {
		c.file, c.geometry = f, f.geometry()
		err = c.prepare(ctx, opts.Files)
	}
	if err != nil {
		err = c.damaged(err)
		c.release(math.MaxInt64)
		return err
	}
	for window := int64(0); ; {
		c.refs = newCounter(window, c.clusters(c.size))
		if err := c.count(ctx); err != nil {
			return err
		}
		if err := c.compare(ctx); err != nil {
			return err
		}
		if c.refs.end >= c.clusters(c.size) {
			break
		}
		c.release(c.refs.end << c.clusterBits)
		window, c.first = c.refs.end, false
	}
	c.release(math.MaxInt64)
	if c.lost > 0 {
		c.out(formats.Problem{Off: c.size, Text: fmt.Sprintf("%d more problems are not listed", c.lost)})
	}
	return nil
}

// prepare reads what all passes need. What is wrong with the snapshot table does not keep the rest from being checked.
func (c *checker) prepare(ctx context.Context, files formats.Files) error {
	if c.incompatible&incompatCorrupt != 0 {
		c.damage(offIncompatible, "header: the corrupt bit is set")
	}
	data, err := c.file.data(ctx, c.src, files)
	if err != nil {
		return err
	}
	c.data = data.Size()
	c.snapshots, c.snapshotBytes, err = readSnapshots(ctx, c.src, &c.header)
	if err := c.damaged(err); err != nil {
		return err
	}
	c.stored, err = readRefcountTable(ctx, c.src, &c.header, c.damage)
	return err
}

// damaged reports an error that is about damage, and returns any other.
func (c *checker) damaged(err error) error {
	if f := (*fault)(nil); errors.As(err, &f) {
		c.damage(f.off, "%s", f.text)
		return nil
	}
	return err
}

// clusters is the number of clusters that hold n bytes from the file's start on.
func (g *geometry) clusters(n int64) int64 { return (n + g.cluster() - 1) >> g.clusterBits }

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
