package zvhd2

import (
	"encoding/binary"

	"github.com/imsfs/imsfs/formats/zstream"
)

const (
	unit       = zstream.Unit
	footerSize = zstream.HeaderSize

	cookie = "z2strm\x00\x00"

	zvhd2Version = 1

	methodZlib = 0
	methodZstd = 1

	indexSegSize     = 512 << 10
	bitmapSegSize    = 4096
	entrySize        = 16
	entriesPerSeg    = indexSegSize / entrySize
	bitsPerSeg       = bitmapSegSize * 8
	defaultBlockSize = 2 << 20
	minBlockSize     = 1 << 20
	maxBlockSize     = 32 << 20
)

// footer is the structure of the header, of the copy after the data and of the final footer.
type footer struct {
	zstream.Header
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

// fields are those of footer, in order, by which errors and comparisons name them.
var fields = append(zstream.Fields(), []zstream.Field{
	{Name: "zvhd2_version", Off: 87, Size: 1}, {Name: "block_size", Off: 88, Size: 4}, {Name: "max_blk_num", Off: 92, Size: 4}, {Name: "index_lba", Off: 96, Size: 8},
	{Name: "bitmap_lba", Off: 104, Size: 8}, {Name: "index_size", Off: 112, Size: 4}, {Name: "bitmap_size", Off: 116, Size: 4}, {Name: "index_seg_size", Off: 120, Size: 4},
	{Name: "bitmap_seg_size", Off: 124, Size: 4}, {Name: "index_seg_num", Off: 128, Size: 4}, {Name: "bitmap_seg_num", Off: 132, Size: 4},
	{Name: "non_zero_blk_num", Off: 136, Size: 4}, {Name: "index_contains_zero_blk", Off: 140, Size: 1}, {Name: "compress_method", Off: 141, Size: 1},
	{Name: "reserved", Off: 142, Size: 370},
}...)

func decodeFooter(b []byte) footer {
	le := binary.LittleEndian
	return footer{
		Header:               zstream.Decode(b),
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

// encode returns the footer's whole unit.
func (f *footer) encode() []byte {
	le := binary.LittleEndian
	b := append(f.Append(make([]byte, 0, unit)), f.zvhd2Version)
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
