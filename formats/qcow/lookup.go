package qcow

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/tables"
)

const (
	flagCompressed = 1 << 63
	// The L1 table is read in pages of l1Page, and l1Bytes of it are kept.
	l1Page  = 64 << 10
	l1Bytes = 2 << 20
)

// lookup finds the bytes of the disk. Tables are read and verified when they are needed.
type lookup struct {
	header
	file int64 // size of the source
	// The tables have caches of their own, because tables that overlap in a hostile file are read
	// in different pieces.
	l1, l2 *tables.Cache
	holes  formats.Holes
}

func newLookup(src formats.Source, h *header) *lookup {
	return &lookup{*h, src.Size(), tables.New(src, name, l1Bytes, nil), tables.New(src, name, 0, nil), formats.HolesOf(src).IfAny()}
}

// stretch is a run of the disk in one state. Data that is not compressed is in one piece in the
// file; a compressed stretch lies within one cluster.
type stretch struct {
	n          int64
	state      formats.State
	compressed bool
	host       int64 // in the file, of the first byte, or of the compressed bytes
	length     int64 // of the compressed bytes
}

// at returns the stretch that begins at off, at most n bytes and within one table.
func (l *lookup) at(ctx context.Context, off, n int64) (stretch, error) {
	index := off / l.l2Span()
	first := index &^ (l1Page/8 - 1)
	page, err := l.l1.Get(ctx, int64(l.l1Table)+first*8, int(min(l1Page/8, l.l1Entries()-first))*8, "L1 table")
	if err != nil {
		return stretch{}, err
	}
	l2 := binary.BigEndian.Uint64(page[(index-first)*8:])
	if l2 == 0 {
		end := index + 1
		for end < first+int64(len(page)/8) && binary.BigEndian.Uint64(page[(end-first)*8:]) == 0 {
			end++
		}
		return stretch{n: min(n, end*l.l2Span()-off), state: formats.Unallocated}, nil
	}
	if problem := l.tableProblem(l2); problem != "" {
		return stretch{}, formats.Corrupt(name, int64(l.l1Table)+index*8, "L1 table: entry for the disk's bytes at %d: %s", index*l.l2Span(), problem)
	}
	table, err := l.l2.Get(ctx, int64(l2), int(l.l2Size()), "L2 table")
	if err != nil {
		return stretch{}, err
	}
	return l.inTable(table, int64(l2), off, n)
}

// tableProblem says why there can be no L2 table at an offset.
func (l *lookup) tableProblem(l2 uint64) string {
	if l2 < headerSize || !inside(l2, uint64(l.l2Size()), l.file) {
		return fmt.Sprintf("the L2 table is at %#x, must be after the header, with its %d bytes within the file of %d bytes", l2, l.l2Size(), l.file)
	}
	return ""
}

// inTable returns the stretch at off from its L2 table, which was read from base.
func (l *lookup) inTable(table []byte, base, off, n int64) (stretch, error) {
	var s stretch
	for at := off % l.l2Span() >> l.clusterBits * 8; s.n < n && at < int64(len(table)); at += 8 {
		pos := off + s.n
		next, problem := l.entry(binary.BigEndian.Uint64(table[at:]), pos%l.cluster(), n-s.n)
		if problem != "" && s.n == 0 {
			return s, formats.Corrupt(name, base+at, "L2 table: entry for the disk's bytes at %d: %s", off&^(l.cluster()-1), problem)
		}
		if problem != "" || !s.join(next) { // a problem is met by the read that begins there
			break
		}
	}
	return s, nil
}

// entry decodes an L2 entry into the stretch at an offset in its cluster, at most n bytes, or says
// why it is wrong.
func (l *lookup) entry(e uint64, in, n int64) (s stretch, problem string) {
	s = stretch{n: min(n, l.cluster()-in), state: formats.Data}
	switch {
	case e == 0:
		s.state = formats.Unallocated
	case e&flagCompressed != 0:
		shift := 63 - l.clusterBits
		s.compressed = true
		s.host = int64(e & (1<<shift - 1))
		s.length = int64(e &^ flagCompressed >> shift)
		if s.host < headerSize || s.length == 0 || !inside(uint64(s.host), uint64(s.length), l.file) {
			problem = fmt.Sprintf("%d compressed bytes at %#x: they must be after the header and within the file of %d bytes, and not empty", s.length, s.host, l.file)
		}
	case e%formats.SectorSize != 0:
		problem = fmt.Sprintf("the cluster's offset is %#x, must be a multiple of 512", e)
	case !inside(e, uint64(in+s.n), l.file):
		problem = fmt.Sprintf("the cluster's offset is %#x, with %d bytes to be within the file of %d bytes", e, in+s.n, l.file)
	default:
		s.host = int64(e) + in
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
