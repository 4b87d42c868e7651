package zvhd

import "github.com/imsfs/imsfs/formats/zstream"

const (
	unit       = zstream.Unit
	headerSize = zstream.HeaderSize

	cookie = "stream\x00\x00"

	blockSize = 2 << 20
	pieces    = 8 // a block has: what decoding one costs stands in docs/formats/zvhd.md
	pieceSize = blockSize / pieces

	// maxChunkSize is the limit we set for a chunk on disk. Deflate grows incompressible data by
	// less than a hundredth, so twice the block is generous.
	maxChunkSize = 2 * blockSize
)

// header is the structure before the chunks, whose copy follows them.
type header struct{ zstream.Header }

// fields are those of header, in order, by which errors and comparisons name them.
var fields = append(zstream.Fields(), zstream.Field{Name: "reserved", Off: 87, Size: 425})

func decodeHeader(b []byte) header { return header{zstream.Decode(b)} }

// encode returns the header's whole unit.
func (h *header) encode() []byte {
	return h.Append(make([]byte, 0, unit))[:unit] // fresh memory: the rest is zeros
}

// blocks is the number of blocks in which the disk has data.
func (h *header) blocks() int64 { return ceilDiv(int64(h.OriginalSize), blockSize) }

// ceilDiv is n/m rounded up.
func ceilDiv(n, m int64) int64 { return (n + m - 1) / m }
