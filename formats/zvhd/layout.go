package zvhd

import (
	"encoding/binary"
	"fmt"
)

const (
	unit       = 4096 // chunks and headers are whole units
	headerSize = 512  // a header's fields; zeros fill its unit

	cookie     = "stream\x00\x00"
	creatorApp = "tap\x00"

	featuresReserved = 2           // VHD's bit that is always set
	fileVersion      = 0x0001_0000 // 1.0
	noDataOffset     = ^uint64(0)  // there is no further header
	creatorVersion   = 0x0001_0004 // 1.4
	diskType         = 4

	chunkCookie     = "hwstream bg\x00"
	chunkHeaderSize = 48
	chunkTrailer    = "end\x00"
	currentSizeUnit = 1 << 30

	blockSize = 2 << 20
	pieces    = 8 // a block has: what decoding one costs stands in docs/formats/zvhd.md
	pieceSize = blockSize / pieces

	// maxChunkSize is the limit we set for a chunk on disk. Deflate grows incompressible data by less than a hundredth, so
	// twice the block is generous.
	maxChunkSize = 2 * blockSize

	// secondsTo2000 is 2000-01-01T00:00:00Z, the format's epoch, in Unix time.
	secondsTo2000 = 946684800
)

// header is the structure in front of the chunks and behind them.
type header struct {
	cookie         [8]byte
	features       uint32
	version        uint32
	dataOffset     uint64
	timestamp      uint32 // seconds since 2000
	creatorApp     [4]byte
	creatorVersion uint32
	creatorOS      uint32
	originalSize   uint64
	currentSize    uint64
	geometry       uint32
	diskType       uint32
	checksum       uint32
	uuid           [16]byte
	saved          uint8
	hidden         uint8
	align64        uint8
}

// field names a range of the header's bytes.
type field struct {
	name      string
	off, size int
}

// fields are those of header, in order, by which errors and comparisons name them.
var fields = []field{
	{"cookie", 0, 8}, {"features", 8, 4}, {"version", 12, 4}, {"data_offset", 16, 8},
	{"timestamp", 24, 4}, {"creator_app", 28, 4}, {"creator_version", 32, 4}, {"creator_os", 36, 4},
	{"original_size", 40, 8}, {"current_size", 48, 8}, {"geometry", 56, 4}, {"type", 60, 4},
	{"checksum", 64, 4}, {"uuid", 68, 16}, {"saved", 84, 1}, {"hidden", 85, 1}, {"align_64", 86, 1},
	{"reserved", 87, 425},
}

// fieldOffset is where the named field starts.
func fieldOffset(name string) int64 {
	for _, f := range fields {
		if f.name == name {
			return int64(f.off)
		}
	}
	panic("zvhd: no field " + name) // bug: rules name fields of the table only
}

func decodeHeader(b []byte) header {
	le := binary.LittleEndian
	return header{
		cookie:         [8]byte(b[0:8]),
		features:       le.Uint32(b[8:]),
		version:        le.Uint32(b[12:]),
		dataOffset:     le.Uint64(b[16:]),
		timestamp:      le.Uint32(b[24:]),
		creatorApp:     [4]byte(b[28:32]),
		creatorVersion: le.Uint32(b[32:]),
		creatorOS:      le.Uint32(b[36:]),
		originalSize:   le.Uint64(b[40:]),
		currentSize:    le.Uint64(b[48:]),
		geometry:       le.Uint32(b[56:]),
		diskType:       le.Uint32(b[60:]),
		checksum:       le.Uint32(b[64:]),
		uuid:           [16]byte(b[68:84]),
		saved:          b[84],
		hidden:         b[85],
		align64:        b[86],
	}
}

// encode gives the header's whole unit, with its checksum field as it stands: see headerSum.
func (h *header) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, unit)
	b = append(b, h.cookie[:]...)
	b = le.AppendUint32(b, h.features)
	b = le.AppendUint32(b, h.version)
	b = le.AppendUint64(b, h.dataOffset)
	b = le.AppendUint32(b, h.timestamp)
	b = append(b, h.creatorApp[:]...)
	b = le.AppendUint32(b, h.creatorVersion)
	b = le.AppendUint32(b, h.creatorOS)
	b = le.AppendUint64(b, h.originalSize)
	b = le.AppendUint64(b, h.currentSize)
	b = le.AppendUint32(b, h.geometry)
	b = le.AppendUint32(b, h.diskType)
	b = le.AppendUint32(b, h.checksum)
	b = append(b, h.uuid[:]...)
	b = append(b, h.saved, h.hidden, h.align64)
	return b[:unit] // fresh memory: the rest is zeros
}

// headerSum is the checksum the header in b must carry: NOT of the sum of its 512 bytes, the checksum's own four
// taken as zeros.
func headerSum(b []byte) uint32 {
	var sum uint32
	for i, c := range b[:headerSize] {
		if i < 64 || i >= 68 {
			sum += uint32(c)
		}
	}
	return ^sum
}

// blocks is the number of blocks in which the disk has data.
func (h *header) blocks() int64 { return ceilDiv(int64(h.originalSize), blockSize) }

// geometry is VHD's cylinders, heads and sectors per track for a disk of size bytes (Virtual Hard Disk Image
// Format Specification, appendix "CHS calculation"), packed as the header has it.
func geometry(size uint64) uint32 {
	sectors := min(size/512, 65535*16*255)
	spt, heads := uint64(17), uint64(0)
	tracks := sectors / spt
	switch {
	case sectors >= 65535*16*63:
		spt, heads = 255, 16
		tracks = sectors / spt
	default:
		heads = max(4, (tracks+1023)/1024)
		if tracks >= heads*1024 || heads > 16 {
			spt, heads = 31, 16
			tracks = sectors / spt
		}
		if tracks >= heads*1024 {
			spt, heads = 63, 16
			tracks = sectors / spt
		}
	}
	return uint32(tracks/heads<<16 | heads<<8 | spt)
}

func formatGeometry(g uint32) string { return fmt.Sprintf("%d/%d/%d", g>>16, g>>8&0xff, g&0xff) }

func formatVersion(v uint32) string { return fmt.Sprintf("%d.%d", v>>16, v&0xffff) }

func formatUUID(u [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// roundUp rounds n up to a multiple of m, a power of two.
func roundUp[T int | int64 | uint64](n, m T) T { return (n + m - 1) &^ (m - 1) }

// ceilDiv is n/m rounded up.
func ceilDiv(n, m int64) int64 { return (n + m - 1) / m }
