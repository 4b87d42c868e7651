package qcow2

import (
	"context"
	"fmt"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
)

// QEMU opens no image with larger tables.
const maxL1Table = 32 << 20

// encoder writes version 3. Data comes first, in the order of the disk, then the tables. The places
// of chunks follow from their lengths (placed.go) and are not kept, so that memory does not depend
// on the disk's size.
type encoder struct {
	geometry
	size     int64
	choices  choices
	zstd     *codec.ZstdEncoder
	deflate  *codec.DeflateEncoder
	space    *allocator
	placed   *placed
	last     int64 // cluster placed
	l2Tables int64
}

var (
	_ formats.Encoder   = (*encoder)(nil)
	_ formats.Estimator = (*encoder)(nil)
)

var _ formats.Creator = (*Driver)(nil)

func (d *Driver) Create(size int64, opts formats.CreateOptions) (formats.Encoder, error) {
	if err := formats.CheckSet(name, d.Options(), opts.Set); err != nil {
		return nil, err
	}
	c, err := parseOptions(opts)
	if err != nil {
		return nil, err
	}
	g := newGeometry(3, c.clusterBits, false)
	most := min(maxL1Table/8*g.l2Span(), formats.MaxDiskSize)
	switch {
	case size <= 0 || size%formats.SectorSize != 0:
		return nil, fmt.Errorf("qcow2: a disk of %d bytes: the size must be a positive multiple of %d", size, formats.SectorSize)
	case size > most:
		return nil, formats.TooLarge("qcow2: a disk of %d bytes: with clusters of %d bytes it has at most %d", size, g.cluster(), most)
	}
	e := &encoder{geometry: g, size: size, choices: c, placed: newPlaced(g.cluster()), last: -1}
	e.space = newAllocator(g, func(int64, int) {})
	if c.compress && c.compression == compressionZlib {
		e.deflate = codec.NewDeflateEncoder()
	} else if c.compress {
		if e.zstd, err = codec.NewZstdEncoder(opts.Level, int(g.cluster())); err != nil {
			return nil, fmt.Errorf("qcow2: %w", err)
		}
	}
	return e, nil
}

func (e *encoder) Room(data int64) int64 {
	if e.choices.compress {
		return 0
	}
	return data
}

func (e *encoder) ClusterSize() int64 { return e.cluster() }

// Encode returns a chunk as long as a cluster if compressing did not help.
func (e *encoder) Encode(dst, plain []byte, ci int64) (chunk []byte, err error) {
	switch {
	case int64(len(plain)) != e.cluster() || ci < 0 || ci >= e.clusters(e.size):
		return nil, fmt.Errorf("qcow2: %d bytes for cluster %d: clusters are %d bytes and there are %d", len(plain), ci, e.cluster(), e.clusters(e.size))
	case e.zstd != nil:
		chunk = e.zstd.Encode(dst[:0], plain)
	case e.deflate != nil:
		if chunk, err = e.deflate.Encode(dst[:0], plain); err != nil {
			return nil, fmt.Errorf("qcow2: %w", err)
		}
	default:
		return plain, nil
	}
	if len(chunk) >= len(plain) {
		return plain, nil
	}
	return chunk, nil
}

func (e *encoder) Place(ci int64, n int) (off int64, err error) {
	switch {
	case ci <= e.last || ci >= e.clusters(e.size):
		return 0, fmt.Errorf("qcow2: cluster %d after cluster %d: clusters are placed in ascending order and there are %d", ci, e.last, e.clusters(e.size))
	case n <= 0 || int64(n) > e.cluster():
		return 0, fmt.Errorf("qcow2: a chunk of %d bytes for cluster %d: it must be at most a cluster, %d", n, ci, e.cluster())
	case e.space.end > e.maxEnd():
		return 0, fmt.Errorf("qcow2: the file would have more than %d bytes, the most that refcounts allow with clusters of %d bytes: choose a larger cluster_size", e.space.end, e.cluster())
	}
	if e.last < 0 || ci>>e.l2Bits != e.last>>e.l2Bits {
		e.l2Tables++
	}
	e.last = ci
	e.placed.add(ci, int64(n))
	return e.space.place(int64(n)), nil
}

// maxEnd is a limit for the file's data. Up to it the refcount table is not larger than QEMU
// accepts, and offsets of compressed bytes fit their fields.
func (e *encoder) maxEnd() int64 {
	most := maxRefcountTable / 8 * e.refcountsPerBlock() // clusters
	most -= most/e.refcountsPerBlock() + (maxRefcountTable+maxL1Table)>>e.clusterBits + e.l2Tables
	return min(most, 1<<(70-2*e.clusterBits)-2) << e.clusterBits
}

// refcountsPerBlock is the number of refcounts of 16 bits in a cluster.
func (e *encoder) refcountsPerBlock() int64 { return e.cluster() / 2 }

// place hands out the space for a chunk.
func (a *allocator) place(n int64) int64 {
	if n == a.cluster() {
		return a.whole()
	}
	return a.packed(n)
}

func (e *encoder) Finish(ctx context.Context, dst formats.Target) error {
	l := e.layout()
	w := newSequence(ctx, dst, l.l2Tables)
	l1, err := e.writeL2(w)
	if err != nil {
		return err
	}
	for _, part := range []func() error{
		func() error { return w.put(l1, "L1 table") },
		func() error { return w.align(e.cluster()) },
		func() error { return e.writeRefcountTable(w, &l) },
		func() error { return e.writeRefcounts(w, &l) },
		w.flush,
	} {
		if err := part(); err != nil {
			return err
		}
	}
	if err := newSequence(ctx, dst, 0).write(e.firstCluster(&l), "header"); err != nil {
		return err
	}
	if err := dst.Truncate(l.end); err != nil {
		return fmt.Errorf("qcow2: setting the file's size to %d: %w", l.end, err)
	}
	return nil
}
