package qcow2

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// Lengths of the header: version 2 ends where the features begin, version 3 goes on to at least
// v3HeaderSize.
const (
	v2HeaderSize   = 72
	v3HeaderSize   = 104
	fullHeaderSize = 112 // with compression_type and padding
)

// Limits of QEMU that are ours, too.
const (
	minClusterBits         = 9
	maxClusterBits         = 21
	minExtendedClusterBits = 14
	maxBackingName         = 1023
	maxSnapshots           = 65536
	maxRefcountOrder       = 6
)

// Offsets of the header's fields, for errors.
const (
	offVersion         = 4
	offBackingOffset   = 8
	offBackingSize     = 16
	offClusterBits     = 20
	offSize            = 24
	offCryptMethod     = 32
	offL1Size          = 36
	offL1Table         = 40
	offRefcountTable   = 48
	offRefcountSize    = 56
	offSnapshots       = 60
	offSnapshotTable   = 64
	offIncompatible    = 72
	offCompatible      = 80
	offAutoclear       = 88
	offRefcountOrder   = 96
	offHeaderLength    = 100
	offCompressionType = 104
)

// header is the file header. Fields that version 2 does not have are at the values that they stand
// for there.
type header struct {
	version         uint32
	backingOffset   uint64
	backingSize     uint32
	clusterBits     uint32
	size            uint64
	cryptMethod     uint32
	l1Size          uint32
	l1Table         uint64
	refcountTable   uint64
	refcountSize    uint32 // clusters
	snapshots       uint32
	snapshotTable   uint64
	incompatible    uint64
	compatible      uint64
	autoclear       uint64
	refcountOrder   uint32
	length          uint32
	compressionType uint8
}

// decodeHeader reads the header in b, which holds v2HeaderSize bytes, and v3HeaderSize if that is
// its version.
func decodeHeader(b []byte) header {
	u32, u64 := binary.BigEndian.Uint32, binary.BigEndian.Uint64
	h := header{
		version:       u32(b[offVersion:]),
		backingOffset: u64(b[offBackingOffset:]),
		backingSize:   u32(b[offBackingSize:]),
		clusterBits:   u32(b[offClusterBits:]),
		size:          u64(b[offSize:]),
		cryptMethod:   u32(b[offCryptMethod:]),
		l1Size:        u32(b[offL1Size:]),
		l1Table:       u64(b[offL1Table:]),
		refcountTable: u64(b[offRefcountTable:]),
		refcountSize:  u32(b[offRefcountSize:]),
		snapshots:     u32(b[offSnapshots:]),
		snapshotTable: u64(b[offSnapshotTable:]),
		refcountOrder: 4,
		length:        v2HeaderSize,
	}
	if h.version == 2 {
		return h
	}
	h.incompatible = u64(b[offIncompatible:])
	h.compatible = u64(b[offCompatible:])
	h.autoclear = u64(b[offAutoclear:])
	h.refcountOrder = u32(b[offRefcountOrder:])
	h.length = u32(b[offHeaderLength:])
	if h.length > offCompressionType && len(b) > offCompressionType {
		h.compressionType = b[offCompressionType]
	}
	return h
}

// encode is the opposite of decodeHeader for version 3, fullHeaderSize bytes long.
func (h *header) encode() []byte {
	b := make([]byte, fullHeaderSize)
	u32, u64 := binary.BigEndian.PutUint32, binary.BigEndian.PutUint64
	u32(b, magic)
	u32(b[offVersion:], h.version)
	u64(b[offBackingOffset:], h.backingOffset)
	u32(b[offBackingSize:], h.backingSize)
	u32(b[offClusterBits:], h.clusterBits)
	u64(b[offSize:], h.size)
	u32(b[offCryptMethod:], h.cryptMethod)
	u32(b[offL1Size:], h.l1Size)
	u64(b[offL1Table:], h.l1Table)
	u64(b[offRefcountTable:], h.refcountTable)
	u32(b[offRefcountSize:], h.refcountSize)
	u32(b[offSnapshots:], h.snapshots)
	u64(b[offSnapshotTable:], h.snapshotTable)
	u64(b[offIncompatible:], h.incompatible)
	u64(b[offCompatible:], h.compatible)
	u64(b[offAutoclear:], h.autoclear)
	u32(b[offRefcountOrder:], h.refcountOrder)
	u32(b[offHeaderLength:], h.length)
	b[offCompressionType] = h.compressionType
	return b
}

// diskSize is in whole sectors: QEMU leaves out a partial one at the end.
func (h *header) diskSize() int64 { return int64(h.size) &^ (formats.SectorSize - 1) }

func (h *header) geometry() geometry {
	g := newGeometry(h.version, h.clusterBits, h.extended())
	g.dataFile = h.incompatible&incompatDataFile != 0
	return g
}

// readHeader reads the header and the rest of the first cluster with it. The header is not
// verified, but has a version that is read and a cluster size that is possible.
func readHeader(ctx context.Context, src formats.Source) (h header, first []byte, err error) {
	b := make([]byte, min(src.Size(), 1<<minClusterBits))
	if err := readAt(ctx, src, b, 0, "header"); err != nil {
		return h, nil, err
	}
	switch {
	case len(b) < v2HeaderSize:
		return h, nil, corrupt(0, "header: the file has %d bytes, must have at least %d", len(b), v2HeaderSize)
	case binary.BigEndian.Uint32(b) != magic:
		return h, nil, corrupt(0, "header: magic is %x, must be %x", b[:4], uint32(magic))
	}
	if version := binary.BigEndian.Uint32(b[offVersion:]); version != 2 && version != 3 {
		return h, nil, unsupported("version %d", version)
	} else if version == 3 && len(b) < v3HeaderSize {
		return h, nil, corrupt(0, "header: the file has %d bytes, must have at least %d for version 3", len(b), v3HeaderSize)
	}
	h = decodeHeader(b)
	if h.clusterBits < minClusterBits || h.clusterBits > maxClusterBits {
		return h, nil, corrupt(offClusterBits, "header: cluster_bits is %d, must be %d to %d", h.clusterBits, minClusterBits, maxClusterBits)
	}
	first = make([]byte, min(src.Size(), 1<<h.clusterBits))
	return h, first, readAt(ctx, src, first, 0, "first cluster")
}

func readAt(ctx context.Context, src formats.Source, p []byte, off int64, what string) error {
	if err := src.ReadAt(ctx, p, off); err != nil {
		return fmt.Errorf("qcow2: %s at %#x: %w", what, off, err)
	}
	return nil
}
