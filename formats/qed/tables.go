package qed

import (
	"context"
	"encoding/binary"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/tables"
)

// maxPage is how much of a table is read at once.
const maxPage = 64 << 10

const (
	unallocated = 0 // an entry of an L1 or L2 table: there is nothing
	zeros       = 1 // an entry of an L2 table: zeros, whatever the backing image has
)

// reader reads the tables in pages.
type reader struct {
	*header
	src   formats.Source
	pages *tables.Cache
	holes formats.Holes
}

func newReader(h *header, src formats.Source) *reader {
	return &reader{h, src, tables.New(src, name, 0, nil), formats.HolesOf(src).IfAny()}
}

// entries returns those from number i of the table at an offset up to the end of their page. The
// table must lie within the file.
func (r *reader) entries(ctx context.Context, table, i int64, what string) (entries, error) {
	page := min(maxPage, r.tableBytes())
	at := i * entrySize &^ (page - 1)
	b, err := r.pages.Get(ctx, table+at, int(page), what)
	if err != nil {
		return nil, err
	}
	return entries(b[i*entrySize-at:]), nil
}

// entries are neighbouring entries of a table.
type entries []byte

func (e entries) len() int64        { return int64(len(e) / entrySize) }
func (e entries) at(i int64) uint64 { return binary.LittleEndian.Uint64(e[i*entrySize:]) }

// run is n bytes of the disk in one state. Data lies in one piece at an offset of the file.
type run struct {
	n     int64
	state formats.State
	at    int64
}

// find returns the run at off, at most limit bytes and within a page of a table. If inFile, data
// that is in pieces in the file is a run for each.
func (r *reader) find(ctx context.Context, off, limit int64, inFile bool) (run, error) {
	l1 := off / r.span()
	list, err := r.entries(ctx, int64(r.l1TableOffset), l1, "L1 table")
	if err != nil {
		return run{}, err
	}
	if list.at(0) == unallocated {
		n := int64(1)
		for n < list.len() && list.at(n) == unallocated && (l1+n)*r.span() < off+limit {
			n++
		}
		return run{n: min(limit, (l1+n)*r.span()-off)}, nil
	}
	if why := r.misplaced(list.at(0), r.tableBytes()); why != "" {
		return run{}, formats.Corrupt(name, r.l1Entry(l1), "L1 entry %d is %#x: %s", l1, list.at(0), why)
	}
	limit = min(limit, r.span()-off%r.span())
	return r.findCluster(ctx, int64(list.at(0)), off, limit, inFile)
}

// findCluster is find, within the L2 table at an offset.
func (r *reader) findCluster(ctx context.Context, table, off, limit int64, inFile bool) (run, error) {
	l2, in := off%r.span()/r.cluster(), off%r.cluster()
	list, err := r.entries(ctx, table, l2, "L2 table")
	if err != nil {
		return run{}, err
	}
	first := list.at(0)
	found := run{state: stateOf(first)}
	clusters := int64(0)
	for clusters < list.len() && clusters*r.cluster() < in+limit && stateOf(list.at(clusters)) == found.state {
		e := list.at(clusters)
		if inFile && found.state == formats.Data {
			if why := r.misplaced(e, r.cluster()); why != "" {
				if clusters > 0 {
					break // the clusters before it are good
				}
				return run{}, formats.Corrupt(name, table+l2*entrySize, "L2 entry %d is %#x: %s", l2, e, why)
			}
			if e != first+uint64(clusters*r.cluster()) {
				break
			}
		}
		clusters++
	}
	found.n = min(limit, clusters*r.cluster()-in)
	found.at = int64(first) + in
	return found, nil
}

// l1Entry is where an entry of the L1 table is.
func (h *header) l1Entry(i int64) int64 { return int64(h.l1TableOffset) + i*entrySize }

func stateOf(entry uint64) formats.State {
	switch entry {
	case unallocated:
		return formats.Unallocated
	case zeros:
		return formats.Zero
	}
	return formats.Data
}
