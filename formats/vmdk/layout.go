package vmdk

import (
	"encoding/binary"
	"fmt"
)

const (
	sector     = 512 // the unit of all sizes and offsets in the format
	headerSize = sector

	magic         = "KDMV"
	magicCOWD     = "COWD"                             // ESX's vmfsSparse
	magicSESparse = "\xbe\xba\xfe\xca\x00\x00\x00\x00" // ESX's seSparse

	flagNewline    = 1 << 0 // the newline fields are valid
	flagRedundant  = 1 << 1 // there is a redundant grain directory
	flagZeroGrain  = 1 << 2 // an entry of 1 is a grain of zeros
	flagCompressed = 1 << 16
	flagMarkers    = 1 << 17
	flagsKnown     = flagNewline | flagRedundant | flagZeroGrain | flagCompressed | flagMarkers

	algorithmNone    = 0
	algorithmDeflate = 1 // zlib streams, in spite of the name

	gdAtEnd  = ^uint64(0) // gdOffset of a header whose truth is in the footer
	newlines = "\n \r\n"
	zeroGTE  = 1

	gteSize         = 4
	maxGTEsPerGT    = 512
	markerSize      = sector
	grainMarkerSize = 12

	markerEOS       = 0
	markerTable     = 1
	markerDirectory = 2
	markerFooter    = 3
)

// header is that of a sparse extent. It is at the start, and again before the last sector if
// gdOffset is gdAtEnd at the start.
type header struct {
	cowd              bool // of a vmfsSparse extent
	version           uint32
	flags             uint32
	capacity          uint64 // sectors, as are the next three, and the offsets
	grainSize         uint64
	descriptorOffset  uint64
	descriptorSize    uint64
	numGTEsPerGT      uint32
	rgdOffset         uint64
	gdOffset          uint64
	overHead          uint64
	uncleanShutdown   uint8
	newlines          [4]byte
	compressAlgorithm uint16
}

// fields are the header's, with their places, by which errors and comparisons name them.
var fields = []struct {
	name      string
	off, size int
}{
	{"magicNumber", 0, 4}, {"version", 4, 4}, {"flags", 8, 4}, {"capacity", 12, 8}, {"grainSize", 20, 8},
	{"descriptorOffset", 28, 8}, {"descriptorSize", 36, 8}, {"numGTEsPerGT", 44, 4}, {"rgdOffset", 48, 8}, {"gdOffset", 56, 8},
	{"overHead", 64, 8}, {"uncleanShutdown", 72, 1}, {"newlines", 73, 4}, {"compressAlgorithm", 77, 2}, {"pad", 79, 433},
}

// fieldOffset is where the named field starts.
func fieldOffset(name string) int64 {
	for _, f := range fields {
		if f.name == name {
			return int64(f.off)
		}
	}
	panic("vmdk: no field " + name) // bug: rules name fields of the table only
}

func decodeHeader(b []byte) header {
	le := binary.LittleEndian
	return header{
		version:           le.Uint32(b[4:]),
		flags:             le.Uint32(b[8:]),
		capacity:          le.Uint64(b[12:]),
		grainSize:         le.Uint64(b[20:]),
		descriptorOffset:  le.Uint64(b[28:]),
		descriptorSize:    le.Uint64(b[36:]),
		numGTEsPerGT:      le.Uint32(b[44:]),
		rgdOffset:         le.Uint64(b[48:]),
		gdOffset:          le.Uint64(b[56:]),
		overHead:          le.Uint64(b[64:]),
		uncleanShutdown:   b[72],
		newlines:          [4]byte(b[73:77]),
		compressAlgorithm: le.Uint16(b[77:]),
	}
}

// encode gives the header's whole sector.
func (h *header) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = le.AppendUint32(b, h.version)
	b = le.AppendUint32(b, h.flags)
	b = le.AppendUint64(b, h.capacity)
	b = le.AppendUint64(b, h.grainSize)
	b = le.AppendUint64(b, h.descriptorOffset)
	b = le.AppendUint64(b, h.descriptorSize)
	b = le.AppendUint32(b, h.numGTEsPerGT)
	b = le.AppendUint64(b, h.rgdOffset)
	b = le.AppendUint64(b, h.gdOffset)
	b = le.AppendUint64(b, h.overHead)
	b = append(b, h.uncleanShutdown)
	b = append(b, h.newlines[:]...)
	b = le.AppendUint16(b, h.compressAlgorithm)
	return b[:headerSize] // fresh memory: the rest is zeros
}

func (h *header) compressed() bool { return h.flags&flagCompressed != 0 }

// marker is a sector of a stream-optimized extent that announces the next structure. Grains have
// other markers: see grain.go.
type marker struct {
	sectors uint64 // of what follows
	size    uint32 // 0, which tells it from a grain's
	kind    uint32
}

func decodeMarker(b []byte) marker {
	le := binary.LittleEndian
	return marker{le.Uint64(b), le.Uint32(b[8:]), le.Uint32(b[12:])}
}

// encode gives the marker's whole sector.
func (m marker) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, markerSize)
	b = le.AppendUint64(b, m.sectors)
	b = le.AppendUint32(b, m.size)
	b = le.AppendUint32(b, m.kind)
	return b[:markerSize]
}

func (m marker) String() string {
	return fmt.Sprintf("marker of type %d, size %d, for %d sectors", m.kind, m.size, m.sectors)
}

// ceilDiv is n/m rounded up, for sums far from overflow.
func ceilDiv[T int | int64 | uint64](n, m T) T { return (n + m - 1) / m }
