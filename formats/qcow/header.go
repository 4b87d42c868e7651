package qcow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

const (
	magic      = 0x514649fb // "QFI" and 0xfb
	version    = 1
	headerSize = 48
	cryptAES   = 1
)

// Limits of QEMU that are ours, too.
const (
	minClusterBits = 9
	maxClusterBits = 16
	minL2Bits      = 6
	maxL2Bits      = 13
	maxBackingName = 1023
)

// Offsets of the header's fields, for errors.
const (
	offBackingOffset = 8
	offBackingSize   = 16
	offSize          = 24
	offClusterBits   = 32
	offL2Bits        = 33
	offL1Table       = 40
)

// header is the file header.
type header struct {
	backingOffset uint64
	backingSize   uint32
	size          uint64
	clusterBits   uint8
	l2Bits        uint8 // of the number of entries in an L2 table
	cryptMethod   uint32
	l1Table       uint64
}

func decodeHeader(b []byte) header {
	u32, u64 := binary.BigEndian.Uint32, binary.BigEndian.Uint64
	return header{
		backingOffset: u64(b[offBackingOffset:]),
		backingSize:   u32(b[offBackingSize:]),
		size:          u64(b[offSize:]),
		clusterBits:   b[offClusterBits],
		l2Bits:        b[offL2Bits],
		cryptMethod:   u32(b[36:]),
		l1Table:       u64(b[offL1Table:]),
	}
}

// diskSize is in whole sectors: QEMU leaves out a partial one at the end.
func (h *header) diskSize() int64 { return int64(h.size) &^ (formats.SectorSize - 1) }

func (h *header) cluster() int64 { return 1 << h.clusterBits }

// l2Size is the size of an L2 table.
func (h *header) l2Size() int64 { return 8 << h.l2Bits }

// l2Span is how many bytes of the disk an L2 table describes: at most 2^29.
func (h *header) l2Span() int64 { return 1 << (h.clusterBits + h.l2Bits) }

// l1Entries is the number of entries of the L1 table.
func (h *header) l1Entries() int64 { return (int64(h.size) + h.l2Span() - 1) / h.l2Span() }

// readHeader reads and verifies the header.
func readHeader(ctx context.Context, src formats.Source) (*header, error) {
	if src.Size() < headerSize {
		return nil, formats.Corrupt(name, 0, "header: the file has %d bytes, must have at least %d", src.Size(), headerSize)
	}
	b := make([]byte, headerSize)
	if err := readAt(ctx, src, b, 0, "header"); err != nil {
		return nil, err
	}
	if got := binary.BigEndian.Uint32(b); got != magic {
		return nil, formats.Corrupt(name, 0, "header: magic is %x, must be %x", got, uint32(magic))
	}
	if v := binary.BigEndian.Uint32(b[4:]); v != version {
		return nil, fmt.Errorf("qcow: version %d is not read, only 1: %w", v, errors.ErrUnsupported)
	}
	h := decodeHeader(b)
	return &h, h.verify(src.Size())
}

// verify refuses a header that breaks a rule, in a file of so many bytes.
func (h *header) verify(file int64) error {
	switch {
	case h.cryptMethod == cryptAES:
		return fmt.Errorf("qcow: encryption (AES) is not read: %w", errors.ErrUnsupported)
	case h.cryptMethod != 0:
		return fmt.Errorf("qcow: encryption (crypt_method %d) is not read: %w", h.cryptMethod, errors.ErrUnsupported)
	case h.clusterBits < minClusterBits || h.clusterBits > maxClusterBits:
		return formats.Corrupt(name, offClusterBits, "header: cluster_bits is %d, must be %d to %d", h.clusterBits, minClusterBits, maxClusterBits)
	case h.l2Bits < minL2Bits || h.l2Bits > maxL2Bits:
		return formats.Corrupt(name, offL2Bits, "header: l2_bits is %d, must be %d to %d", h.l2Bits, minL2Bits, maxL2Bits)
	case h.size > formats.MaxDiskSize:
		return formats.Corrupt(name, offSize, "header: size is %d, must be at most %d", h.size, int64(formats.MaxDiskSize))
	case h.l1Table < headerSize || !inside(h.l1Table, uint64(h.l1Entries())*8, file):
		return formats.Corrupt(name, offL1Table, "header: l1_table_offset is %#x, must be after the header, with %d entries for the disk's size within the file of %d bytes", h.l1Table, h.l1Entries(), file)
	case h.backingOffset != 0 && h.backingSize > maxBackingName:
		return formats.Corrupt(name, offBackingSize, "header: backing_file_size is %d, must be at most %d", h.backingSize, maxBackingName)
	case h.backingOffset != 0 && !inside(h.backingOffset, uint64(h.backingSize), file):
		return formats.Corrupt(name, offBackingOffset, "header: backing_file_offset is %#x, must be such that %d bytes from there on lie within the file of %d bytes", h.backingOffset, h.backingSize, file)
	}
	return nil
}

// inside reports whether [off, off+n) lies in a file of so many bytes, without overflowing.
func inside(off, n uint64, file int64) bool { return off <= uint64(file) && n <= uint64(file)-off }
