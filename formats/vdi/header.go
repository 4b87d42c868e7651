package vdi

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

const (
	signature  = 0xbeda107f
	version    = 0x0001_0001
	headerSize = 0x180 // as counted by header_size, from that field on; newer files have 16 bytes more, for a geometry
	headerEnd  = atHeaderSize + headerSize

	typeDynamic      = 1
	typeFixed        = 2
	typeUndo         = 3
	typeDifferencing = 4

	entrySize   = 4
	unallocated = 0xffff_ffff // a block map entry: never written
	discarded   = 0xffff_fffe // a block map entry: zeros

	// maxBlocks is qemu's limit for the length of a block map, almost 512 TiB of 1 MiB blocks.
	maxBlocks = 0x1fff_ff80
)

// Where the fields of the header are.
const (
	atSignature       = 0x40
	atVersion         = 0x44
	atHeaderSize      = 0x48
	atImageType       = 0x4c
	atImageFlags      = 0x50
	atDescription     = 0x54
	atOffsetBmap      = 0x154
	atOffsetData      = 0x158
	atSectorSize      = 0x168 // after cylinders, heads and sectors
	atDiskSize        = 0x170
	atBlockSize       = 0x178
	atBlockExtra      = 0x17c
	atBlocksInImage   = 0x180
	atBlocksAllocated = 0x184
	atUUIDImage       = 0x188
	atUUIDLastSnap    = 0x198
	atUUIDLink        = 0x1a8
	atUUIDParent      = 0x1b8
	atLCHSSectorSize  = 0x1d4 // the last field of the geometry that newer files have
	newHeaderEnd      = 0x1d8
)

// header is the fields of the header that matter.
type header struct {
	fileSize                                      int64 // of the source
	text, description                             string
	signature, version, headerSize                uint32
	imageType, imageFlags                         uint32
	offsetBmap, offsetData                        uint32
	sectorSize                                    uint32
	diskSize                                      uint64
	blockSize, blockExtra                         uint32
	blocksInImage, blocksAllocated                uint32
	uuidImage, uuidLastSnap, uuidLink, uuidParent uuid
}

// uuid is as the format stores it: the first three of its numbers are little-endian.
type uuid [16]byte

// swapped turns a UUID's stored form into the usual one, and back.
func (u uuid) swapped() uuid {
	return uuid{u[3], u[2], u[1], u[0], u[5], u[4], u[7], u[6], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]}
}

func (u uuid) String() string {
	b := u.swapped()
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// readHeader reads the header. The missing part of a short file is zeros; see identity.
func readHeader(ctx context.Context, src formats.Source) (*header, error) {
	b := make([]byte, headerEnd)
	if err := src.ReadAt(ctx, b[:min(headerEnd, src.Size())], 0); err != nil {
		return nil, fmt.Errorf("vdi: header: %w", err)
	}
	le := binary.LittleEndian
	return &header{
		fileSize:        src.Size(),
		text:            text(b[:atSignature]),
		description:     text(b[atDescription:atOffsetBmap]),
		signature:       le.Uint32(b[atSignature:]),
		version:         le.Uint32(b[atVersion:]),
		headerSize:      le.Uint32(b[atHeaderSize:]),
		imageType:       le.Uint32(b[atImageType:]),
		imageFlags:      le.Uint32(b[atImageFlags:]),
		offsetBmap:      le.Uint32(b[atOffsetBmap:]),
		offsetData:      le.Uint32(b[atOffsetData:]),
		sectorSize:      le.Uint32(b[atSectorSize:]),
		diskSize:        le.Uint64(b[atDiskSize:]),
		blockSize:       le.Uint32(b[atBlockSize:]),
		blockExtra:      le.Uint32(b[atBlockExtra:]),
		blocksInImage:   le.Uint32(b[atBlocksInImage:]),
		blocksAllocated: le.Uint32(b[atBlocksAllocated:]),
		uuidImage:       uuid(b[atUUIDImage:]),
		uuidLastSnap:    uuid(b[atUUIDLastSnap:]),
		uuidLink:        uuid(b[atUUIDLink:]),
		uuidParent:      uuid(b[atUUIDParent:]),
	}, nil
}

// text returns the text before the first zero, without the line end that writers add.
func text(b []byte) string {
	if end := bytes.IndexByte(b, 0); end >= 0 {
		b = b[:end]
	}
	return string(bytes.TrimRight(b, "\n"))
}

// size is the disk's size. VirtualBox makes images of odd sizes, which are read as whole sectors,
// as by qemu.
func (h *header) size() int64 {
	return int64((h.diskSize + formats.SectorSize - 1) &^ (formats.SectorSize - 1))
}

// mapSize is the length of the block map in bytes.
func (h *header) mapSize() int64 { return int64(h.blocksInImage) * entrySize }

// block is where the block of a map entry is in the file.
func (h *header) block(entry uint32) int64 {
	return int64(h.offsetData) + int64(entry)*int64(h.blockSize)
}

// missing reports whether the file ends before the disk's bytes of block ci do. Bytes after the
// disk's end are not needed.
func (h *header) missing(ci int64, entry uint32) bool {
	n := min(int64(h.blockSize), h.size()-ci*int64(h.blockSize))
	return h.block(entry) > h.fileSize-max(n, 0)
}
