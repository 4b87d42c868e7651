package zstream

import (
	"encoding/binary"
	"fmt"
)

const (
	ChunkCookie     = "hwstream bg\x00"
	ChunkHeaderSize = 48
	ChunkTrailer    = "end\x00"
)

// ChunkHead is the header of a chunk.
type ChunkHead struct {
	Compressed uint32 // bytes that follow the header
	Block      uint32
}

// Size is the length of the chunk in the file.
func (h ChunkHead) Size() int64 {
	return RoundUp(ChunkHeaderSize+int64(h.Compressed)+int64(len(ChunkTrailer)), Unit)
}

// DecodeChunkHead reads the header in b, or says why it is wrong. The compressed flag and the
// original size are ignored, because the vendor's tool writes 0 and ignores them too.
func DecodeChunkHead(b []byte) (h ChunkHead, problem string) {
	if got := b[:len(ChunkCookie)]; string(got) != ChunkCookie {
		return h, fmt.Sprintf("cookie is %q, must be %q", got, ChunkCookie)
	}
	return ChunkHead{binary.LittleEndian.Uint32(b[12:]), binary.LittleEndian.Uint32(b[16:])}, ""
}

// EncodeChunk completes the chunk in b: ChunkHeaderSize zeros and the compressed block.
func EncodeChunk(b []byte, block uint32) []byte {
	h := ChunkHead{uint32(len(b) - ChunkHeaderSize), block}
	copy(b, ChunkCookie)
	binary.LittleEndian.PutUint32(b[12:], h.Compressed)
	binary.LittleEndian.PutUint32(b[16:], h.Block)
	padding := int(h.Size()) - len(b) - len(ChunkTrailer)
	b = append(b, make([]byte, padding)...)
	return append(b, ChunkTrailer...)
}

// Payload returns the compressed bytes of a whole chunk with that header, or says why its end is
// wrong. The bytes between them and the trailer are ignored: the vendor's tool leaves there the
// former content of its buffer.
func (h ChunkHead) Payload(chunk []byte) (compressed []byte, problem string) {
	if got := chunk[len(chunk)-len(ChunkTrailer):]; string(got) != ChunkTrailer {
		return nil, fmt.Sprintf("the last four bytes are %q, must be %q", got, ChunkTrailer)
	}
	return chunk[ChunkHeaderSize : ChunkHeaderSize+int(h.Compressed)], ""
}
