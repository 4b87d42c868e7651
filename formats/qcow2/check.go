package qcow2

import (
	"context"
	"errors"

	"github.com/imsfs/imsfs/formats"
)

// checker is one Check under way.
type checker struct {
	formats.Findings
	driver *Driver
	src    formats.Source
	*file
	geometry
	size   int64 // of the source
	data   int64 // of the file that has the clusters
	stored *storedRefcounts

	// The file is gone through in passes, each of which counts references within a window of
	// clusters.
	refs  *counter
	first bool // this pass reports wrong entries of the tables

	active  extent // of the active L1 table
	decoded int64  // compressed bytes so far
}

// extent is [off, off+n) of the file.
type extent struct{ off, n int64 }

// Check counts the references to each cluster and compares them with the refcounts. It looks at
// every table entry, and decodes the compressed clusters of the active state.
func (d *Driver) Check(ctx context.Context, src formats.Source, opts formats.OpenOptions, report func(formats.Problem)) error {
	c := &checker{driver: d, src: src, size: src.Size(), first: true}
	f, err := readFirst(ctx, src)
	if err == nil {
		c.file, c.geometry = f, f.geometry()
		err = c.prepare(ctx, opts.Files)
	}
	if err != nil {
		err = c.damaged(err)
		c.Report(report)
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
		c.Release(c.refs.end<<c.clusterBits, report)
		window, c.first = c.refs.end, false
	}
	c.Report(report)
	return nil
}

// prepare reads the tables that all passes need. The rest is checked even if the snapshot table is
// damaged.
func (c *checker) prepare(ctx context.Context, files formats.Files) error {
	if c.incompatible&incompatCorrupt != 0 {
		c.Damage(offIncompatible, "header: the corrupt bit is set")
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
	c.stored, err = readRefcountTable(ctx, c.src, &c.header, c.Damage)
	return err
}

// damaged reports an error that is about damage, and returns any other.
func (c *checker) damaged(err error) error {
	if f := (*fault)(nil); errors.As(err, &f) {
		c.Damage(f.off, "%s", f.text)
		return nil
	}
	return err
}

// clusters is the number of clusters that hold n bytes from the file's start on.
func (g *geometry) clusters(n int64) int64 { return (n + g.cluster() - 1) >> g.clusterBits }
