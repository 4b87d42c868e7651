package qcow2

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// layout has the offsets of the tables of a new file: after the data, in this order.
type layout struct {
	l2Tables, l1Table, refcountTable, refcounts, end int64
	clusters                                         int64 // of the file
}

// layout computes the layout from the number of tables. Refcounts count themselves, too.
func (e *encoder) layout() layout {
	l := layout{l2Tables: e.space.end}
	l.l1Table = l.l2Tables + e.l2Tables<<e.clusterBits
	l.refcountTable = l.l1Table + e.clusters(e.l1Entries(e.size)*8)<<e.clusterBits
	for blocks := int64(1); ; {
		l.refcounts = l.refcountTable + e.clusters(blocks*8)<<e.clusterBits
		l.end = l.refcounts + blocks<<e.clusterBits
		l.clusters = l.end >> e.clusterBits
		needed := (l.clusters + e.refcountsPerBlock() - 1) / e.refcountsPerBlock()
		if needed <= blocks {
			return l
		}
		blocks = needed
	}
}

// firstCluster is the header and, where a reader may not know a feature, its name.
func (e *encoder) firstCluster(l *layout) []byte {
	h := header{
		version:       3,
		clusterBits:   uint32(e.clusterBits),
		size:          uint64(e.size),
		l1Size:        uint32(e.l1Entries(e.size)),
		l1Table:       uint64(l.l1Table),
		refcountTable: uint64(l.refcountTable),
		refcountSize:  uint32((l.refcounts - l.refcountTable) >> e.clusterBits),
		refcountOrder: 4,
		length:        fullHeaderSize,
	}
	if e.choices.compression == compressionZlib {
		return h.encode()
	}
	h.compressionType = e.choices.compression
	h.incompatible = incompatCompression
	b := binary.BigEndian.AppendUint32(h.encode(), extFeatureNames)
	b = binary.BigEndian.AppendUint32(b, featureNameSize)
	b = append(b, 0, 3) // incompatible, bit 3
	b = append(b, "compression type"...)
	return append(b, make([]byte, fullHeaderSize+extHeaderSize+featureNameSize-len(b))...)
}

// writeL2 writes the L2 tables and returns the L1 table.
func (e *encoder) writeL2(w *sequence) (l1 []byte, err error) {
	l1 = make([]byte, e.l1Entries(e.size)*8)
	table, index := make([]byte, e.cluster()), int64(-1)
	put := func() error {
		if index < 0 {
			return nil
		}
		binary.BigEndian.PutUint64(l1[index*8:], uint64(w.end())|flagCopied)
		return w.put(table, "L2 table")
	}
	space := newAllocator(e.geometry, func(int64, int) {})
	for p := range e.placed.all() {
		if i := p.ci >> e.l2Bits; i != index {
			if err := put(); err != nil {
				return nil, err
			}
			clear(table)
			index = i
		}
		at := e.l2Offset(p.ci << e.clusterBits)
		binary.BigEndian.PutUint64(table[at:], e.descriptor(space.place(p.n), p.n))
	}
	return l1, put()
}

// descriptor is the L2 entry of a chunk of n bytes.
func (e *encoder) descriptor(off, n int64) uint64 {
	if n == e.cluster() {
		return uint64(off) | flagCopied
	}
	sectors := (off+n-1)/formats.SectorSize - off/formats.SectorSize
	return flagCompressed | uint64(sectors)<<(70-e.clusterBits) | uint64(off)
}

func (e *encoder) writeRefcountTable(w *sequence, l *layout) error {
	table := make([]byte, l.refcounts-l.refcountTable)
	for i, off := 0, l.refcounts; off < l.end; i, off = i+8, off+e.cluster() {
		binary.BigEndian.PutUint64(table[i:], uint64(off))
	}
	return w.put(table, "refcount table")
}

// writeRefcounts writes 1 for all clusters but those that several compressed ones have bytes in.
func (e *encoder) writeRefcounts(w *sequence, l *layout) (err error) {
	next := int64(0) // cluster
	write := func(refcount uint16, upTo int64) {
		for ; next < upTo && err == nil; next++ {
			var b [2]byte
			binary.BigEndian.PutUint16(b[:], refcount)
			err = w.put(b[:], "refcount block")
		}
	}
	space := newAllocator(e.geometry, func(cluster int64, refcount int) {
		write(1, cluster)
		write(uint16(refcount), cluster+1)
	})
	for p := range e.placed.all() {
		space.place(p.n)
	}
	space.close()
	write(1, l.clusters)
	write(0, (l.end-l.refcounts)/2)
	return err
}

// sequence writes one structure after the other, in large pieces.
type sequence struct {
	ctx context.Context
	dst formats.Target
	off int64 // of buf in the file
	buf []byte
}

const sequenceBuffer = 1 << 20

func newSequence(ctx context.Context, dst formats.Target, off int64) *sequence {
	return &sequence{ctx: ctx, dst: dst, off: off}
}

// end is the offset of the next put.
func (w *sequence) end() int64 { return w.off + int64(len(w.buf)) }

func (w *sequence) put(p []byte, what string) error {
	if w.buf = append(w.buf, p...); len(w.buf) < sequenceBuffer {
		return nil
	}
	return w.write(nil, what)
}

// align puts zeros up to a multiple of a power of two.
func (w *sequence) align(unit int64) error {
	return w.put(make([]byte, -w.end()&(unit-1)), "tables")
}

func (w *sequence) flush() error { return w.write(nil, "tables") }

// write writes the bytes put so far, and p after them.
func (w *sequence) write(p []byte, what string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	w.buf = append(w.buf, p...)
	if _, err := w.dst.WriteAt(w.buf, w.off); err != nil {
		return fmt.Errorf("qcow2: writing the %s at %#x: %w", what, w.off, err)
	}
	w.off, w.buf = w.end(), w.buf[:0]
	return nil
}
