package qed

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/imsfs/imsfs/formats"
)

const (
	headerSize = 72
	entrySize  = 8

	minClusterSize = 4 << 10
	maxClusterSize = 64 << 20
	maxTableSize   = 16   // clusters
	maxBackingName = 4095 // bytes, as much as a path of the system has
)

// Bits of features. A reader must know all that are set.
const (
	featureBackingFile = 1 << iota
	featureNeedCheck
	featureBackingNoProbe
	knownFeatures = 1<<iota - 1
)

// Where the fields of the header are.
const (
	atClusterSize   = 4
	atTableSize     = 8
	atHeaderSize    = 12
	atFeatures      = 16
	atCompat        = 24
	atAutoclear     = 32
	atL1TableOffset = 40
	atImageSize     = 48
	atBackingOffset = 56
	atBackingSize   = 60
)

// header is the header's fields.
type header struct {
	fileSize                           int64 // of the source
	magic                              string
	clusterSize, tableSize, headerSize uint32
	features, compat, autoclear        uint64
	l1TableOffset, imageSize           uint64
	backingNameOffset, backingNameSize uint32
}

// readHeader reads the header. The missing part of a short file is zeros; see identity.
func readHeader(ctx context.Context, src formats.Source) (*header, error) {
	b := make([]byte, headerSize)
	if err := src.ReadAt(ctx, b[:min(headerSize, src.Size())], 0); err != nil {
		return nil, fmt.Errorf("qed: header: %w", err)
	}
	le := binary.LittleEndian
	return &header{
		fileSize:          src.Size(),
		magic:             string(b[:len(magic)]),
		clusterSize:       le.Uint32(b[atClusterSize:]),
		tableSize:         le.Uint32(b[atTableSize:]),
		headerSize:        le.Uint32(b[atHeaderSize:]),
		features:          le.Uint64(b[atFeatures:]),
		compat:            le.Uint64(b[atCompat:]),
		autoclear:         le.Uint64(b[atAutoclear:]),
		l1TableOffset:     le.Uint64(b[atL1TableOffset:]),
		imageSize:         le.Uint64(b[atImageSize:]),
		backingNameOffset: le.Uint32(b[atBackingOffset:]),
		backingNameSize:   le.Uint32(b[atBackingSize:]),
	}, nil
}

// cluster is the size of a cluster, headerEnd where clusters that may be referred to begin.
func (h *header) cluster() int64   { return int64(h.clusterSize) }
func (h *header) headerEnd() int64 { return int64(h.headerSize) * h.cluster() }

// tableBytes is the length of a table, L1 or L2.
func (h *header) tableBytes() int64 { return int64(h.tableSize) * h.cluster() }

// perTable is the number of entries of a table, and span how much of the disk one L2 table is
// about: at most 2^53.
func (h *header) perTable() int64 { return h.tableBytes() / entrySize }
func (h *header) span() int64     { return h.perTable() * h.cluster() }

// maxImageSize is the largest disk that the tables have entries for, or formats.MaxDiskSize.
func (h *header) maxImageSize() uint64 {
	hi, lo := bits.Mul64(uint64(h.span()), uint64(h.perTable()))
	if hi > 0 {
		return formats.MaxDiskSize
	}
	return min(lo, formats.MaxDiskSize)
}

// misplaced says why n bytes at an offset of the file cannot be a table or a cluster, or "".
func (h *header) misplaced(off uint64, n int64) string {
	switch {
	case off%uint64(h.clusterSize) != 0:
		return fmt.Sprintf("must be a multiple of cluster_size %d", h.clusterSize)
	case off < uint64(h.headerEnd()):
		return fmt.Sprintf("must be after the header, which ends at %#x", h.headerEnd())
	case n > h.fileSize || off > uint64(h.fileSize-n):
		return fmt.Sprintf("its %d bytes must lie within the file of %d bytes", n, h.fileSize)
	}
	return ""
}
