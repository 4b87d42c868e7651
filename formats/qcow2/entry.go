package qcow2

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/imsfs/imsfs/formats"
)

// Bits of L1 and L2 entries.
const (
	flagCopied     = 1 << 63 // refcount is exactly 1
	flagCompressed = 1 << 62
	flagZero       = 1 << 0
	offsetMask     = 0x00ff_ffff_ffff_fe00

	l1Reserved = 0x7f00_0000_0000_01ff
	l2Reserved = 0x3f00_0000_0000_01fe
)

// entry is an L2 entry as it is stored; bitmap is 0 without extended L2 entries.
type entry struct{ descriptor, bitmap uint64 }

func (g *geometry) entryAt(table []byte, at int64) entry {
	e := entry{descriptor: binary.BigEndian.Uint64(table[at:])}
	if g.extended {
		e.bitmap = binary.BigEndian.Uint64(table[at+8:])
	}
	return e
}

// mapping is the meaning of an L2 entry: where the bytes of a cluster are.
type mapping struct {
	host       int64 // offset in the file of the cluster, or of the compressed bytes; 0 for none
	compressed bool
	length     int64  // of the compressed bytes, at most: up to the end of the last sector they touch
	data, zero uint32 // subclusters in that state, by bit; those in neither are unallocated
}

// mapping decodes an entry, or says why it is wrong.
func (g *geometry) mapping(e entry) (m mapping, problem string) {
	if e.descriptor&flagCompressed != 0 {
		return g.compressed(e.descriptor)
	}
	m.host = int64(e.descriptor & offsetMask)
	stored := m.host != 0 || g.dataFile && e.descriptor&flagCopied != 0
	switch {
	case g.extended:
		m.data, m.zero = uint32(e.bitmap), uint32(e.bitmap>>32)
	case e.descriptor&flagZero != 0:
		m.zero = ^uint32(0)
	case stored:
		m.data = ^uint32(0)
	}
	switch {
	case m.host%g.cluster() != 0:
		return m, fmt.Sprintf("the cluster's offset is %#x, must be a multiple of the cluster size", m.host)
	case g.version == 2 && m.zero != 0:
		return m, "a zero cluster, which version 2 does not have"
	case m.data&m.zero != 0:
		return m, fmt.Sprintf("bitmap of subclusters is %#016x, must not call one both allocated and zero", e.bitmap)
	case m.data != 0 && !stored:
		return m, fmt.Sprintf("bitmap of subclusters is %#016x, must not call one allocated in a cluster that is not", e.bitmap)
	}
	return m, ""
}

func (g *geometry) compressed(descriptor uint64) (m mapping, problem string) {
	sizeShift := 62 - (g.clusterBits - 8)
	host := descriptor & (1<<sizeShift - 1)
	sectors := descriptor &^ (flagCopied | flagCompressed) >> sizeShift
	m = mapping{
		host: int64(host), compressed: true, data: ^uint32(0),
		length: int64(sectors+1)*formats.SectorSize - int64(host%formats.SectorSize),
	}
	if g.dataFile {
		return m, "a compressed cluster, which an image with an external data file does not have"
	}
	if m.host < g.cluster() {
		return m, fmt.Sprintf("the compressed cluster's offset is %#x, must not lie in the header's cluster", m.host)
	}
	return m, ""
}

// run returns the state of a subcluster and how many from it on have that, at least 1.
func (m *mapping) run(sub int) (formats.State, int) {
	data, zero := m.data>>sub, m.zero>>sub
	switch {
	case data&1 != 0:
		return formats.Data, bits.TrailingZeros32(^data)
	case zero&1 != 0:
		return formats.Zero, bits.TrailingZeros32(^zero)
	}
	return formats.Unallocated, min(bits.TrailingZeros32(data|zero), subclusters-sub)
}
