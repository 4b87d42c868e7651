package qcow2

import (
	"fmt"
	"math/bits"

	"github.com/imsfs/imsfs/formats"
)

// Bits of incompatible_features, compatible_features and autoclear_features.
const (
	incompatDirty       = 1 << 0
	incompatCorrupt     = 1 << 1
	incompatDataFile    = 1 << 2
	incompatCompression = 1 << 3
	incompatExtendedL2  = 1 << 4
	incompatKnown       = 1<<5 - 1

	compatLazyRefcounts = 1 << 0
	autoclearBitmaps    = 1 << 0
	autoclearRawData    = 1 << 1 // the data file is the disk, byte for byte
)

// Values of crypt_method and compression_type.
const (
	cryptAES  = 1
	cryptLUKS = 2

	compressionZlib = 0
	compressionZstd = 1
)

func (h *header) extended() bool { return h.incompatible&incompatExtendedL2 != 0 }

// codec is the compression type in QEMU's words.
func (h *header) codec() string {
	if h.compressionType == compressionZstd {
		return "zstd"
	}
	return "zlib"
}

// supported refuses by name the features that are not read.
func (h *header) supported(ext *extensions) error {
	if unknown := h.incompatible &^ incompatKnown; unknown != 0 {
		bit := bits.TrailingZeros64(unknown)
		if feature := ext.features[bit]; feature != "" {
			return unsupported("the incompatible feature %q (bit %d)", feature, bit)
		}
		return unsupported("the unknown incompatible feature of bit %d", bit)
	}
	switch {
	case h.cryptMethod == cryptAES:
		return unsupported("encryption (AES)")
	case h.cryptMethod == cryptLUKS:
		return unsupported("encryption (LUKS)")
	case h.cryptMethod != 0:
		return unsupported("encryption (crypt_method %d)", h.cryptMethod)
	case h.compressionType > compressionZstd:
		return unsupported("compression_type %d", h.compressionType)
	}
	return nil
}

// rule is a condition that a field must fulfil.
type rule struct {
	field string
	off   int64
	got   uint64
	ok    bool
	must  string
}

// verify returns an error for the first rule that the header breaks, in a file of so many bytes. A
// later rule may depend on the earlier ones.
func (h *header) verify(file int64) error {
	for _, r := range h.rules(file) {
		if !r.ok {
			return corrupt(r.off, "header: %s is %d, must be %s", r.field, r.got, r.must)
		}
	}
	return nil
}

func (h *header) rules(file int64) []rule {
	cluster := uint64(1) << h.clusterBits
	g := h.geometry()
	needed := g.l1Entries(h.diskSize())
	zstd := h.incompatible&incompatCompression != 0
	return []rule{
		{"header_length", offHeaderLength, uint64(h.length), uint64(h.length) <= cluster && (h.version == 2 || h.length >= v3HeaderSize), "104 to a cluster"},
		{"compression_type", offCompressionType, uint64(h.compressionType), (h.compressionType != compressionZlib) == zstd, "not 0 if, and only if, incompatible feature bit 3 says so"},
		{"cluster_bits", offClusterBits, uint64(h.clusterBits), !h.extended() || h.clusterBits >= minExtendedClusterBits, "at least 14 with extended L2 entries"},
		{"refcount_order", offRefcountOrder, uint64(h.refcountOrder), h.refcountOrder <= maxRefcountOrder, "at most 6"},
		{"size", offSize, h.size, h.size <= formats.MaxDiskSize, fmt.Sprintf("at most %d", int64(formats.MaxDiskSize))},
		{"backing_file_offset", offBackingOffset, h.backingOffset, h.backingOffset <= cluster, "within the first cluster"},
		{"backing_file_size", offBackingSize, uint64(h.backingSize), h.backingOffset == 0 || uint64(h.backingSize) <= min(maxBackingName, cluster-h.backingOffset), "at most 1023 and within the first cluster"},
		{"l1_table_offset", offL1Table, h.l1Table, h.l1Table%cluster == 0 && (needed == 0 || h.l1Table != 0), "a multiple of the cluster size after the header"},
		{"l1_size", offL1Size, uint64(h.l1Size), uint64(h.l1Size) >= uint64(needed), fmt.Sprintf("at least %d for the disk's size", needed)},
		{"l1_size", offL1Size, uint64(h.l1Size), inside(h.l1Table, 8*uint64(h.l1Size), uint64(file)), fmt.Sprintf("no more than lies within the file of %d bytes", file)},
		{"nb_snapshots", offSnapshots, uint64(h.snapshots), h.snapshots <= maxSnapshots, "at most 65536"},
		{"snapshots_offset", offSnapshotTable, h.snapshotTable, h.snapshots == 0 || h.snapshotTable%cluster == 0 && h.snapshotTable != 0, "a multiple of the cluster size after the header"},
	}
}

// inside reports whether [off, off+n) lies in a file of so many bytes, without overflowing.
func inside(off, n, file uint64) bool { return off <= file && n <= file-off }
