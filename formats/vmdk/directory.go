package vmdk

import (
	"context"
	"encoding/binary"

	"github.com/imsfs/imsfs/formats/tables"
)

// minTables is the least cache of an extent's grain tables, however many extents share
// tables.DefaultBytes.
const minTables = 16 << 10

// directory is a grain directory and its grain tables. The directory is in memory, tables are read
// when they are needed. Tables that are neighbours in the file, as in files made with room for all,
// are read many at once.
type directory struct {
	file     file
	what     string // as in "grain table"
	at       int64  // of the directory, bytes
	entries  []byte
	perTable int64 // grains
	grains   int64
	cache    *tables.Cache
}

// openDirectory reads the directory that a verified header places at a sector.
func openDirectory(ctx context.Context, f file, h *header, offset uint64, what string, cacheBytes int64) (*directory, error) {
	d := &directory{
		file: f, what: what, at: int64(offset) * sector, entries: make([]byte, h.tables()*gteSize),
		perTable: int64(h.numGTEsPerGT), grains: int64(h.grains()),
		cache: tables.New(f, f.where(), cacheBytes, nil),
	}
	return d, f.read(ctx, d.entries, d.at, "grain directory")
}

// len is the number of tables there may be.
func (d *directory) len() int64 { return int64(len(d.entries) / gteSize) }

// entry is the sector of table j, 0 if there is none.
func (d *directory) entry(j int64) int64 { return gte(d.entries, j) }

// gte is entry i of a table or directory.
func gte(entries []byte, i int64) int64 {
	return int64(binary.LittleEndian.Uint32(entries[i*gteSize:]))
}

// tableSectors is the room that a table takes.
func (d *directory) tableSectors() int64 { return ceilDiv(d.perTable*gteSize, sector) }

// group is the number of tables that are read at once if they can be.
const group = 32

// page returns which tables are read together with table j: those of its group if they are
// neighbours in the file, or it alone.
func (d *directory) page(j int64) (first, n int64) {
	first = j - j%group
	n = min(group, d.len()-first)
	for k := range n {
		if d.entry(first+k) != d.entry(first)+k*d.tableSectors() {
			return j, 1
		}
	}
	return first, n
}

// table returns the entries of table j, which must exist, for the grains of the extent only.
func (d *directory) table(ctx context.Context, j int64) ([]byte, error) {
	first, n := d.page(j)
	size := d.tableSectors() * sector
	b, err := d.cache.Get(ctx, d.entry(first)*sector, int(n*size), d.what)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) != n*size {
		return nil, d.file.corrupt(d.at+j*gteSize, "%s %d: it starts where another does", d.what, j)
	}
	b = b[(j-first)*size:]
	return b[:gteSize*min(d.perTable, d.grains-j*d.perTable)], nil
}

// from returns the entries of a table from grain g on. If there is no table, entries is nil and n
// is how many grains have none.
func (d *directory) from(ctx context.Context, g int64) (entries []byte, n int64, err error) {
	j, i := g/d.perTable, g%d.perTable
	if d.entry(j) != 0 {
		entries, err = d.table(ctx, j)
		if err != nil {
			return nil, 0, err
		}
		return entries[i*gteSize:], int64(len(entries))/gteSize - i, nil
	}
	for j < d.len() && d.entry(j) == 0 {
		j++
	}
	return nil, min(j*d.perTable, d.grains) - g, nil
}

// free reports whether looking at table j costs no read: it does not exist, or it is read together
// with table loaded (-1 for none).
func (d *directory) free(j, loaded int64) bool {
	if d.entry(j) == 0 {
		return true
	}
	first, n := d.page(j)
	return loaded >= first && loaded < first+n
}
