package qcow2

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/tables"
)

// l1Bytes bounds the part of an L1 table that is kept: all of it for a disk of 128 TiB in clusters
// of 64 KiB.
const l1Bytes = 2 << 20

// lookup finds the bytes of one state of the disk, the active one or a snapshot's, through its L1
// and L2 tables. Tables are read and verified when they are needed.
type lookup struct {
	geometry
	file    int64 // size of the source
	data    int64 // size of the file that has the clusters: the source, or an external data file
	l1Table int64
	l1Used  int64 // entries that are about the disk
	// The tables have caches of their own, because tables that overlap in a hostile file are read
	// in different pieces.
	l1, l2 *tables.Cache
	holes  formats.Holes // of the clusters
	// tableHoles are those of the source.
	tableHoles formats.Holes
	whole      whole
}

// newLookup makes the lookup of a disk of size bytes, whose tables are in src and whose clusters in
// data.
func newLookup(src, data formats.Source, g geometry, l1Table uint64, size int64) *lookup {
	return &lookup{
		geometry: g, file: src.Size(), data: data.Size(), l1Table: int64(l1Table), l1Used: g.l1Entries(size),
		l1: tables.New(src, name, l1Bytes, nil),
		l2: tables.New(src, name, 0, nil), holes: formats.HolesOf(data).IfAny(), tableHoles: formats.HolesOf(src).IfAny(),
	}
}

// stretch is a run of the disk in one state. Data that is not compressed is in one piece in the
// file; a compressed stretch lies within one cluster.
type stretch struct {
	n          int64
	state      formats.State
	compressed bool
	host       int64 // in the file, of the first byte, or of the compressed bytes
	length     int64 // of the compressed bytes, at most
}

// at returns the stretch that begins at off, at most n bytes and within one page of a table.
func (l *lookup) at(ctx context.Context, off, n int64) (stretch, error) {
	index := l.l1Index(off)
	page, first, err := l.l1Page(ctx, index)
	if err != nil {
		return stretch{}, err
	}
	l2 := int64(binary.BigEndian.Uint64(page[(index-first)*8:]) & offsetMask)
	if l2 == 0 {
		return stretch{n: min(n, l.emptyEnd(page, first, index)-off), state: formats.Unallocated}, nil
	}
	if l2%l.cluster() != 0 || l2 > l.file-l.cluster() {
		return stretch{}, corrupt(l.l1Table+index*8, "L1 table: the L2 table for the disk's bytes at %d is at %#x, must be at a multiple of the cluster size within the file", index*l.l2Span(), l2)
	}
	at := l.l2Offset(off)
	base := l2 + at&^(l.pageSize()-1)
	page, err = l.l2.Get(ctx, base, int(l.pageSize()), "L2 table")
	if err != nil {
		return stretch{}, err
	}
	return l.inPage(page, base, l2+at-base, off, n)
}

// l1Page returns the page of the L1 table with an entry, and the number of its first entry.
func (l *lookup) l1Page(ctx context.Context, index int64) (page []byte, first int64, err error) {
	first = index &^ (tablePage/8 - 1)
	n := min(tablePage/8, l.l1Used-first)
	page, err = l.l1.Get(ctx, l.l1Table+first*8, int(n)*8, "L1 table")
	return page, first, err
}

// emptyEnd returns where on the disk the run of empty L1 entries from index on ends, within the
// page.
func (l *lookup) emptyEnd(page []byte, first, index int64) int64 {
	end := first + int64(len(page))/8
	for index++; index < end && binary.BigEndian.Uint64(page[(index-first)*8:])&offsetMask == 0; index++ {
	}
	return index * l.l2Span()
}

// inPage returns the stretch at off, whose entry is at an offset in a page of an L2 table that was
// read from base.
func (l *lookup) inPage(page []byte, base, at, off, n int64) (stretch, error) {
	var s stretch
	for ; s.n < n && at < int64(len(page)); at += 1 << l.entryBits {
		next, problem := l.piece(l.entryAt(page, at), off+s.n, n-s.n)
		if problem != "" && s.n == 0 {
			return s, corrupt(base+at, "L2 table: entry for the disk's bytes at %d: %s", off&^(l.cluster()-1), problem)
		}
		// The read that begins there returns the error.
		if problem != "" || !s.join(next) || (off+s.n)%l.cluster() != 0 {
			break
		}
	}
	return s, nil
}

// piece returns the stretch at off, at most n bytes and within one cluster, or says why its entry
// is wrong.
func (l *lookup) piece(e entry, off, n int64) (s stretch, problem string) {
	m, problem := l.mapping(e)
	if problem != "" {
		return s, problem
	}
	in := off % l.cluster()
	first := int(in / l.subcluster())
	state, run := m.run(first)
	s = stretch{n: min(n, int64(first+run)*l.subcluster()-in), state: state}
	switch {
	case state != formats.Data:
		return s, ""
	case m.compressed:
		s.compressed, s.host, s.length = true, m.host, min(m.length, l.file-m.host)
		if s.length <= 0 {
			problem = fmt.Sprintf("the compressed cluster's offset is %#x, must be within the file of %d bytes", m.host, l.file)
		}
	default:
		s.host = m.host + in
		if s.host > l.data-s.n {
			problem = fmt.Sprintf("its %d bytes at %#x must lie within the file of %d bytes", s.n, s.host, l.data)
		}
	}
	return s, problem
}

// join lengthens s by the next stretch of the disk, if both are one in the file.
func (s *stretch) join(next stretch) bool {
	switch {
	case s.n == 0:
		*s = next
		return true
	case next.state != s.state || s.compressed || next.compressed:
		return false
	case s.state == formats.Data && next.host != s.host+s.n:
		return false
	}
	s.n += next.n
	return true
}
