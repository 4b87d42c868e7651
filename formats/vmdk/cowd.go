package vmdk

import (
	"context"
	"encoding/binary"
	"fmt"
)

const (
	cowdHeaderSectors = 4
	cowdTableGrains   = 4096
)

// readCOWD reads the header of a vmfsSparse extent, as ESX 3 to 6 makes them for snapshots of disks
// up to 2 TiB. The result is a header of the usual kind, because directory and tables work alike:
// only their sizes differ.
func readCOWD(ctx context.Context, f file) (*header, error) {
	b := make([]byte, 32)
	if f.Size() < cowdHeaderSectors*sector {
		return nil, f.corrupt(0, "header: the file has %d bytes, a header takes %d", f.Size(), cowdHeaderSectors*sector)
	}
	if err := f.read(ctx, b, 0, "header"); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	h := &header{
		cowd: true, version: le.Uint32(b[4:]), capacity: uint64(le.Uint32(b[12:])), grainSize: uint64(le.Uint32(b[16:])),
		gdOffset: uint64(le.Uint32(b[20:])), numGTEsPerGT: cowdTableGrains, overHead: cowdHeaderSectors,
	}
	grainOK := powerOfTwo(h.grainSize) && h.grainSize <= maxGrain
	for _, r := range []rule{
		{"capacity", h.capacity, h.capacity > 0, "at least 1 sector"},
		{"grainSize", h.grainSize, grainOK, fmt.Sprintf("a power of two up to %d sectors", int64(maxGrain))},
	} {
		if !r.ok {
			return nil, f.corrupt(cowdFields[r.field], "header: %s is %d, must be %s", r.field, r.got, r.must)
		}
	}
	entries, size := uint64(le.Uint32(b[24:])), ceilDiv(h.tables()*gteSize, sector)
	switch {
	case h.version != 1:
		return nil, f.unsupported("vmfsSparse version %d is not read, only 1", h.version)
	case entries < h.tables():
		return nil, f.corrupt(cowdFields["numGDEntries"], "header: numGDEntries is %d, must be at least the %d that the capacity needs", entries, h.tables())
	case h.gdOffset < cowdHeaderSectors || !inside(h.gdOffset, size, uint64(f.Size()/sector)):
		return nil, f.corrupt(cowdFields["gdOffset"], "header: gdOffset is %d, must be such that %d sectors lie between the header and the end of the file", h.gdOffset, size)
	}
	return h, nil
}

// cowdFields are the offsets of the header's fields.
var cowdFields = map[string]int64{"capacity": 12, "grainSize": 16, "gdOffset": 20, "numGDEntries": 24}
