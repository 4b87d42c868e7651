package qcow2

import (
	"context"
	"encoding/binary"

	"github.com/imsfs/imsfs/formats"
)

// maxRefcountTable is QEMU's limit.
const maxRefcountTable = 8 << 20

// storedRefcounts are the refcounts that the file has. It is for one user at a time.
type storedRefcounts struct {
	src      formats.Source
	geometry geometry
	order    uint
	table    []byte // none if it is not where it must be: no refcount is known then

	page []byte // of a refcount block
	at   int64
}

// readRefcountTable reads the refcount table, and reports wrong entries.
func readRefcountTable(ctx context.Context, src formats.Source, h *header, damage func(off int64, format string, args ...any)) (*storedRefcounts, error) {
	r := &storedRefcounts{src: src, geometry: h.geometry(), order: uint(h.refcountOrder)}
	size := uint64(h.refcountSize) << h.clusterBits
	switch {
	case size == 0 || size > maxRefcountTable:
		damage(offRefcountSize, "header: refcount_table_clusters is %d, must be 1 to %d", h.refcountSize, maxRefcountTable>>h.clusterBits)
		return r, nil
	case h.refcountTable == 0 || h.refcountTable%uint64(r.geometry.cluster()) != 0 || !inside(h.refcountTable, size, uint64(src.Size())):
		damage(offRefcountTable, "header: refcount_table_offset is %#x, must be a multiple of the cluster size with %d bytes from there on in the file", h.refcountTable, size)
		return r, nil
	}
	r.table = make([]byte, size)
	if err := readAt(ctx, src, r.table, int64(h.refcountTable), "refcount table"); err != nil {
		return nil, err
	}
	for i := range r.entries() {
		if block, ok := r.block(i); block != 0 && !ok {
			damage(int64(h.refcountTable)+i*8, "refcount table: entry %d is %#x, must be the offset of a cluster in the file", i, block)
		}
	}
	return r, nil
}

func (r *storedRefcounts) entries() int64 { return int64(len(r.table) / 8) }

// perBlock is the number of refcounts in a refcount block.
func (r *storedRefcounts) perBlock() int64 { return r.geometry.cluster() * 8 >> r.order }

// block is the offset of a refcount block, 0 for one that is not there, and whether there can be
// one.
func (r *storedRefcounts) block(i int64) (off uint64, ok bool) {
	off = binary.BigEndian.Uint64(r.table[i*8:])
	cluster := uint64(r.geometry.cluster())
	return off, off != 0 && off%cluster == 0 && inside(off, cluster, uint64(r.src.Size()))
}

// get returns the refcount of a cluster, if it is known.
func (r *storedRefcounts) get(ctx context.Context, cluster int64) (refcount uint64, known bool, err error) {
	i := cluster / r.perBlock()
	if i >= r.entries() {
		return 0, r.table != nil, nil
	}
	block, ok := r.block(i)
	if !ok {
		return 0, block == 0, nil
	}
	bit := cluster % r.perBlock() << r.order
	size := r.geometry.pageSize()
	if at := int64(block) + bit/8&^(size-1); r.page == nil || at != r.at {
		if r.page == nil {
			r.page = make([]byte, size)
		}
		r.at = -1
		if err := readAt(ctx, r.src, r.page, at, "refcount block"); err != nil {
			return 0, false, err
		}
		r.at = at
	}
	return r.decode(r.page[bit/8&(size-1):], uint(bit%8)), true, nil
}

// decode reads the refcount at the start of b, which begins at a bit of the first byte if it is
// smaller than a byte.
func (r *storedRefcounts) decode(b []byte, bit uint) uint64 {
	switch r.order {
	case 3:
		return uint64(b[0])
	case 4:
		return uint64(binary.BigEndian.Uint16(b))
	case 5:
		return uint64(binary.BigEndian.Uint32(b))
	case 6:
		return binary.BigEndian.Uint64(b)
	}
	return uint64(b[0] >> bit & (1<<(1<<r.order) - 1))
}
