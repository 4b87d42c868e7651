package qcow2

import (
	"context"
	"math/bits"
)

// maxDecoded bounds, as a multiple of the file's size, the compressed bytes that are decoded: a
// small file of entries that overlap could keep a processor busy for days.
const maxDecoded = 3

// walkL2 counts the clusters that an L2 table refers to.
func (c *checker) walkL2(ctx context.Context, off int64, t l2Table) error {
	return c.pages(ctx, extent{off, c.cluster()}, "L2 table", func(page []byte, at int64) error {
		for i := int64(0); i < int64(len(page)); i += 1 << c.entryBits {
			e := c.entryAt(page, i)
			if e == (entry{}) {
				continue
			}
			if err := c.l2Entry(ctx, e, at+i, t); err != nil {
				return err
			}
		}
		return nil
	})
}

// l2Entry checks the L2 entry at an offset and counts its reference.
func (c *checker) l2Entry(ctx context.Context, e entry, at int64, t l2Table) error {
	m, problem := c.mapping(e)
	switch {
	case problem != "":
		c.entryDamage(at, "%s", problem)
		if m.host > 0 && m.host < c.size && !c.dataFile { // so that it is not reported as lost, too
			c.refs.add(m.host>>c.clusterBits, 0, t.references)
		}
		return nil
	case m.compressed:
		return c.compressedEntry(ctx, &m, e, at, t)
	}
	reserved := uint64(l2Reserved)
	if c.extended {
		reserved |= flagZero
	}
	if e.descriptor&reserved != 0 {
		c.entryDamage(at, "the descriptor %#016x has reserved bits set", e.descriptor)
	}
	if m.host == 0 && m.data == 0 {
		return nil
	}
	if m.host >= c.data || m.host+c.needed(&m) > c.data {
		c.entryDamage(at, "the cluster at %#x must lie within the file of %d bytes", m.host, c.data)
		return nil
	}
	if c.dataFile {
		return nil // refcounts are of the clusters of the file itself
	}
	c.refs.add(m.host>>c.clusterBits, useData, t.references)
	if c.first && t.active {
		return c.copied(ctx, at, "L2 table", e.descriptor, m.host)
	}
	return nil
}

func (c *checker) entryDamage(at int64, format string, args ...any) {
	if c.first {
		c.Damage(at, "L2 table: "+format, args...)
	}
}

// needed is how many bytes of a cluster must be in the file: up to its last allocated subcluster,
// without the bytes after the disk's end in its last cluster. The table does not say which cluster
// is the last, so that much may be missing in any.
func (c *checker) needed(m *mapping) int64 {
	n := int64(bits.Len32(m.data)) * c.subcluster()
	if in := c.diskSize() % c.cluster(); in != 0 {
		n = min(n, in)
	}
	return n
}

// compressedEntry checks and counts a compressed cluster, and decodes it if it is of the active
// state.
func (c *checker) compressedEntry(ctx context.Context, m *mapping, e entry, at int64, t l2Table) error {
	if e.descriptor&flagCopied != 0 {
		c.entryDamage(at, "bit 63 of the descriptor %#016x must not be set, as the cluster is compressed", e.descriptor)
	}
	length := min(m.length, c.size-m.host)
	if length <= 0 {
		c.entryDamage(at, "the compressed cluster's offset is %#x, must be within the file of %d bytes", m.host, c.size)
		return nil
	}
	for cluster := m.host >> c.clusterBits; cluster < c.clusters(m.host+length); cluster++ {
		c.refs.add(cluster, useData, t.references)
	}
	if !c.first || !t.active || c.decoded > maxDecoded*c.size {
		return nil
	}
	if c.decoded += length; c.decoded > maxDecoded*c.size {
		c.Damage(at, "L2 table: compressed clusters overlap: together they are %d times as large as the file, and the rest is not decoded", maxDecoded)
		return nil
	}
	return c.decodeEntry(ctx, m.host, length)
}

func (c *checker) decodeEntry(ctx context.Context, host, length int64) error {
	src, dst := c.driver.buffers.Get(length), c.driver.buffers.Get(c.cluster())
	defer c.driver.buffers.Put(src)
	defer c.driver.buffers.Put(dst)
	if err := readAt(ctx, c.src, *src, host, "compressed cluster"); err != nil {
		return err
	}
	if err := c.driver.decode(*dst, *src, c.compressionType); err != nil {
		c.Damage(host, "compressed cluster: %v", err)
	}
	return nil
}
