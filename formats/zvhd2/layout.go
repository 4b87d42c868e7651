package zvhd2

import (
	"encoding/binary"
	"fmt"
)

const (
	unit       = 4096 // chunks, tables and footers are whole units
	footerSize = 512  // a footer's fields; zeros fill its unit

	cookie     = "z2strm\x00\x00"
	creatorApp = "tap\x00"

	featuresReserved = 2           // VHD's bit that is always set
	fileVersion      = 0x0001_0000 // 1.0
	noDataOffset     = ^uint64(0)  // there is no further header
	creatorVersion   = 0x0001_0004 // 1.4
	diskType         = 4
	zvhd2Version     = 1

	methodZlib = 0
	methodZstd = 1

	indexSegSize     = 512 << 10
	bitmapSegSize    = 4096
	entrySize        = 16
	entriesPerSeg    = indexSegSize / entrySize
	bitsPerSeg       = bitmapSegSize * 8
	chunkCookie      = "hwstream bg\x00"
	chunkHeaderSize  = 48
	chunkTrailer     = "end\x00"
	currentSizeUnit  = 1 << 30
	defaultBlockSize = 2 << 20
	minBlockSize     = 1 << 20
	maxBlockSize     = 32 << 20

	// secondsTo2000 is 2000-01-01T00:00:00Z, the format's epoch, in Unix time.
	secondsTo2000 = 946684800
)

// footer is the structure of the header, of the copy behind the data and of the final footer.
type footer struct {
	cookie               [8]byte
	features             uint32
	version              uint32
	dataOffset           uint64
	timestamp            uint32 // seconds since 2000
	creatorApp           [4]byte
	creatorVersion       uint32
	creatorOS            uint32
	originalSize         uint64
	currentSize          uint64
	geometry             uint32
	diskType             uint32
	checksum             uint32
	uuid                 [16]byte
	saved                uint8
	hidden               uint8
	align64              uint8
	zvhd2Version         uint8
	blockSize            uint32
	maxBlkNum            uint32
	indexLBA             uint64 // bytes, as is bitmapLBA
	bitmapLBA            uint64
	indexSize            uint32
	bitmapSize           uint32
	indexSegSize         uint32
	bitmapSegSize        uint32
	indexSegNum          uint32
	bitmapSegNum         uint32
	nonZeroBlkNum        uint32
	indexContainsZeroBlk uint8
	compressMethod       uint8
}

// field names a range of the footer's bytes.
type field struct {
	name      string
	off, size int
}

// fields are those of footer, in order, by which errors and comparisons name them.
var fields = []field{
	{"cookie", 0, 8}, {"features", 8, 4}, {"version", 12, 4}, {"data_offset", 16, 8},
	{"timestamp", 24, 4}, {"creator_app", 28, 4}, {"creator_version", 32, 4}, {"creator_os", 36, 4},
	{"original_size", 40, 8}, {"current_size", 48, 8}, {"geometry", 56, 4}, {"type", 60, 4},
	{"checksum", 64, 4}, {"uuid", 68, 16}, {"saved", 84, 1}, {"hidden", 85, 1}, {"align_64", 86, 1},
	{"zvhd2_version", 87, 1}, {"block_size", 88, 4}, {"max_blk_num", 92, 4}, {"index_lba", 96, 8},
	{"bitmap_lba", 104, 8}, {"index_size", 112, 4}, {"bitmap_size", 116, 4}, {"index_seg_size", 120, 4},
	{"bitmap_seg_size", 124, 4}, {"index_seg_num", 128, 4}, {"bitmap_seg_num", 132, 4},
	{"non_zero_blk_num", 136, 4}, {"index_contains_zero_blk", 140, 1}, {"compress_method", 141, 1},
	{"reserved", 142, 370},
}

// fieldOffset is where the named field starts.
func fieldOffset(name string) int64 {
	for _, f := range fields {
		if f.name == name {
			return int64(f.off)
		}
	}
	panic("zvhd2: no field " + name) // bug: rules name fields of the table only
}

func decodeFooter(b []byte) footer {
	le := binary.LittleEndian
	return footer{
		cookie:               [8]byte(b[0:8]),
		features:             le.Uint32(b[8:]),
		version:              le.Uint32(b[12:]),
		dataOffset:           le.Uint64(b[16:]),
		timestamp:            le.Uint32(b[24:]),
		creatorApp:           [4]byte(b[28:32]),
		creatorVersion:       le.Uint32(b[32:]),
		creatorOS:            le.Uint32(b[36:]),
		originalSize:         le.Uint64(b[40:]),
		currentSize:          le.Uint64(b[48:]),
		geometry:             le.Uint32(b[56:]),
		diskType:             le.Uint32(b[60:]),
		checksum:             le.Uint32(b[64:]),
		uuid:                 [16]byte(b[68:84]),
		saved:                b[84],
		hidden:               b[85],
		align64:              b[86],
		zvhd2Version:         b[87],
		blockSize:            le.Uint32(b[88:]),
		maxBlkNum:            le.Uint32(b[92:]),
		indexLBA:             le.Uint64(b[96:]),
		bitmapLBA:            le.Uint64(b[104:]),
		indexSize:            le.Uint32(b[112:]),
		bitmapSize:           le.Uint32(b[116:]),
		indexSegSize:         le.Uint32(b[120:]),
		bitmapSegSize:        le.Uint32(b[124:]),
		indexSegNum:          le.Uint32(b[128:]),
		bitmapSegNum:         le.Uint32(b[132:]),
		nonZeroBlkNum:        le.Uint32(b[136:]),
		indexContainsZeroBlk: b[140],
		compressMethod:       b[141],
	}
}

// encode gives the footer's whole unit, with its checksum field as it stands: see footerSum.
func (f *footer) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, unit)
	b = append(b, f.cookie[:]...)
	b = le.AppendUint32(b, f.features)
	b = le.AppendUint32(b, f.version)
	b = le.AppendUint64(b, f.dataOffset)
	b = le.AppendUint32(b, f.timestamp)
	b = append(b, f.creatorApp[:]...)
	b = le.AppendUint32(b, f.creatorVersion)
	b = le.AppendUint32(b, f.creatorOS)
	b = le.AppendUint64(b, f.originalSize)
	b = le.AppendUint64(b, f.currentSize)
	b = le.AppendUint32(b, f.geometry)
	b = le.AppendUint32(b, f.diskType)
	b = le.AppendUint32(b, f.checksum)
	b = append(b, f.uuid[:]...)
	b = append(b, f.saved, f.hidden, f.align64, f.zvhd2Version)
	b = le.AppendUint32(b, f.blockSize)
	b = le.AppendUint32(b, f.maxBlkNum)
	b = le.AppendUint64(b, f.indexLBA)
	b = le.AppendUint64(b, f.bitmapLBA)
	b = le.AppendUint32(b, f.indexSize)
	b = le.AppendUint32(b, f.bitmapSize)
	b = le.AppendUint32(b, f.indexSegSize)
	b = le.AppendUint32(b, f.bitmapSegSize)
	b = le.AppendUint32(b, f.indexSegNum)
	b = le.AppendUint32(b, f.bitmapSegNum)
	b = le.AppendUint32(b, f.nonZeroBlkNum)
	b = append(b, f.indexContainsZeroBlk, f.compressMethod)
	return b[:unit] // fresh memory: the rest is zeros
}

// footerSum is the checksum the footer in b must carry: NOT of the sum of its 512 bytes, the checksum's own
// four taken as zeros.
func footerSum(b []byte) uint32 {
	var sum uint32
	for i, c := range b[:footerSize] {
		if i < 64 || i >= 68 {
			sum += uint32(c)
		}
	}
	return ^sum
}

// ref is where the chunk of a block lies: an index entry.
type ref struct {
	off   int64
	block uint32
	size  uint32 // on disk, bytes
}

func (r ref) end() int64 { return r.off + int64(r.size) }

func encodeRef(b []byte, r ref) {
	binary.LittleEndian.PutUint64(b, uint64(r.off))
	binary.LittleEndian.PutUint32(b[8:], r.block)
	binary.LittleEndian.PutUint32(b[12:], r.size)
}

// geometry is VHD's cylinders, heads and sectors per track for a disk of size bytes (Virtual Hard Disk Image
// Format Specification, appendix "CHS calculation"), packed as the footer has it.
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

// ceilDiv is n/m rounded up; 0 if m is 0.
func ceilDiv(n, m uint64) uint64 {
	if m == 0 {
		return 0
	}
	q := n / m
	if n%m != 0 {
		q++
	}
	return q
}
