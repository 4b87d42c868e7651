package vmdk

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
)

// Layout of written files, as by every other writer: grains of 64 KiB in tables of 512, a
// descriptor of 20 sectors after the header.
const (
	grainSectors      = 128
	grainBytes        = grainSectors * sector
	tableGrains       = maxGTEsPerGT
	tableSectors      = tableGrains * gteSize / sector
	descriptorSectors = 20
	// maxCreateSize is VMware's limit for a disk. The format limits the file: entries are sectors
	// in 32 bits, so that nothing may start past 2 TiB.
	maxCreateSize = 62 << 40
	maxSector     = 1<<32 - 1
)

func (d *Driver) Create(size int64, opts formats.CreateOptions) (formats.Encoder, error) {
	c, err := parseOptions(opts)
	if err != nil {
		return nil, err
	}
	if err := formats.CheckSector(name, opts); err != nil {
		return nil, err
	}
	switch {
	case size <= 0 || size%sector != 0:
		return nil, fmt.Errorf("vmdk: a disk of %d bytes: the size must be a positive multiple of 512", size)
	case size > maxCreateSize:
		return nil, formats.TooLarge("vmdk: a disk of %d bytes: VMware's limit is %d (62 TiB)", size, int64(maxCreateSize))
	}
	w := written{descriptor: c.descriptorText(uint64(size/sector), opts), last: -1, header: header{
		version: 1, flags: flagNewline, capacity: uint64(size / sector), grainSize: grainSectors, numGTEsPerGT: tableGrains,
		descriptorOffset: 1, descriptorSize: descriptorSectors, newlines: [4]byte([]byte(newlines)),
	}}
	if c.subformat == monolithicSparse {
		return newSparseEncoder(w), nil
	}
	z, err := codec.NewZlibEncoder(opts.Level)
	if err != nil {
		return nil, fmt.Errorf("vmdk: %w", err)
	}
	return newStreamEncoder(w, z), nil
}

// written is what both encoders know of the file they write.
type written struct {
	header     header
	descriptor string
	tables     []*placedTable // those with entries, in order
	last       int64          // grain placed
	end        int64          // the next free sector
}

// placedTable is a grain table to be written.
type placedTable struct {
	number  int64
	at      int64 // sector, once it is known
	entries [tableGrains]uint32
}

func (w *written) ClusterSize() int64 { return grainBytes }

// check returns an error if plain or g is not a grain of the disk.
func (w *written) check(plain []byte, g int64) error {
	if len(plain) != grainBytes || g < 0 || g >= int64(w.header.grains()) {
		return fmt.Errorf("vmdk: %d bytes for grain %d: grains are %d bytes and there are %d", len(plain), g, grainBytes, w.header.grains())
	}
	return nil
}

// place gives grain g the next n sectors. next is called for a table that gets its first entry,
// before it does.
func (w *written) place(g, n int64, next func()) (int64, error) {
	if g <= w.last || g >= int64(w.header.grains()) {
		return 0, fmt.Errorf("vmdk: grain %d after grain %d: grains are placed in ascending order and there are %d", g, w.last, w.header.grains())
	}
	t := w.table()
	if t == nil || t.number != g/tableGrains {
		next()
		t = &placedTable{number: g / tableGrains}
		w.tables = append(w.tables, t)
	}
	if w.end > maxSector-n {
		return 0, fmt.Errorf("vmdk: the file would grow past 2 TiB, where the format's sector numbers of 32 bits end; qcow2, vhdx and raw hold more")
	}
	t.entries[g%tableGrains] = uint32(w.end)
	w.last, w.end = g, w.end+n
	return (w.end - n) * sector, nil
}

// table is the last one, nil if there is none yet.
func (w *written) table() *placedTable {
	if len(w.tables) == 0 {
		return nil
	}
	return w.tables[len(w.tables)-1]
}

// directorySectors is the room of a grain directory.
func (w *written) directorySectors() int64 { return int64(ceilDiv(w.header.tables()*gteSize, sector)) }

// directory is a grain directory of the placed tables.
func (w *written) directory() []byte {
	b := make([]byte, w.directorySectors()*sector)
	for _, t := range w.tables {
		binary.LittleEndian.PutUint32(b[t.number*gteSize:], uint32(t.at))
	}
	return b
}

func (t *placedTable) encode() []byte {
	b := make([]byte, 0, tableSectors*sector)
	for _, e := range t.entries {
		b = binary.LittleEndian.AppendUint32(b, e)
	}
	return b
}

// front writes header and descriptor.
func (w *written) front(ctx context.Context, dst formats.Target, h header) error {
	b := make([]byte, (1+descriptorSectors)*sector)
	copy(b, h.encode())
	copy(b[sector:], w.descriptor)
	return put(ctx, dst, b, 0, "header and descriptor")
}

func put(ctx context.Context, dst formats.Target, b []byte, at int64, what string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := dst.WriteAt(b, at*sector); err != nil {
		return fmt.Errorf("vmdk: writing the %s at %#x: %w", what, at*sector, err)
	}
	return nil
}

func truncate(dst formats.Target, sectors int64) error {
	if err := dst.Truncate(sectors * sector); err != nil {
		return fmt.Errorf("vmdk: setting the file's size to %d: %w", sectors*sector, err)
	}
	return nil
}
