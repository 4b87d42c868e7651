package packs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/imsfs/imsfs/blockstore"
)

// Numbers in packs and in values are little-endian; docs/blockstore.md has the layout byte by byte.

const (
	version = 2

	packMagic   = "imsfspak"
	packHead    = 64 // magic, version, block size, size of the largest slice, pack number, zeros, CRC
	recordMagic = 0x72_73_6d_69
	recordHead  = 48 // magic, record length, kind, algorithm, slices, zero, ID, CRC
	sliceHead   = 8  // stored length and codec, CRC
	align       = 16 // of records

	maxSlices = 4
	maxSlice  = 24 << 10

	// maxRecord is the length limit of a record. A stored slice is never longer than its plain
	// bytes.
	maxRecord = recordHead + maxSlices*sliceHead + blockstore.BlockSize
)

// A block is cut into three slices, so that a read of 4 KiB decodes only one. Version 1 made four
// slices of 16 KiB.
const (
	blockSlices    = 3
	oldBlockSlices = 4
	oldMaxSlice    = 16 << 10
)

// sliceStart returns the offset of slice i in a block of count slices. For i = count it is the
// block's end.
func sliceStart(count, i int) int {
	switch {
	case count == oldBlockSlices:
		return i * oldMaxSlice
	case i == 0:
		return 0
	}
	const later = (blockstore.BlockSize - maxSlice) / (blockSlices - 1) // 20 KiB: slices begin and end between pages
	return maxSlice + (i-1)*later
}

// sliceAt returns the number of the slice that has byte off of a block of count slices.
func sliceAt(count, off int) int {
	i := count - 1
	for sliceStart(count, i) > off {
		i--
	}
	return i
}

// kind is the type of a record's plain bytes. The index keys contain it, too.
type kind uint8

const (
	blockKind   kind = 1 // a block
	segmentKind kind = 2 // an encoded complete segment
	rootKind    kind = 3 // a part of a complete disk's list of segments
)

// codecID is the way a slice is stored.
type codecID uint8

const (
	plainCodec codecID = iota // as it is
	zstdCodec                 // one Zstandard frame
	zeroCodec                 // not at all: it is zeros
)

// name identifies a record within its kind. It is a block's or segment's ID, or a disk number and a
// part.
type name [32]byte

// location is the place of a record and the stored lengths of its slices. A read of one slice needs
// nothing else.
type location struct {
	pack  uint32
	off   int64 // of the record in the pack
	lens  [maxSlices]uint16
	count int // slices
}

// size returns the record's length.
func (l location) size() int64 { return pad(l.slice(l.count)) }

// slice returns the offset of slice i in the record.
func (l location) slice(i int) int64 {
	n := int64(recordHead)
	for _, stored := range l.lens[:i] {
		n += sliceHead + int64(stored)
	}
	return n
}

// end returns the offset just past the record in its pack.
func (l location) end() int64 { return l.off + l.size() }

// encode returns the index value: pack, offset in units of align, and the length of each slice.
func (l location) encode() []byte {
	b := make([]byte, 0, 16)
	b = binary.LittleEndian.AppendUint32(b, l.pack)
	b = binary.LittleEndian.AppendUint32(b, uint32(l.off/align))
	for _, n := range l.lens[:l.count] {
		b = binary.LittleEndian.AppendUint16(b, n)
	}
	return b
}

func parseLocation(b []byte) (location, error) {
	var l location
	l.count = (len(b) - 8) / 2
	if len(b) < 10 || len(b)%2 != 0 || l.count > len(l.lens) {
		return l, fmt.Errorf("an index value of %d bytes", len(b))
	}
	l.pack = binary.LittleEndian.Uint32(b)
	l.off = int64(binary.LittleEndian.Uint32(b[4:])) * align
	for i := range l.count {
		if l.lens[i] = binary.LittleEndian.Uint16(b[8+2*i:]); l.lens[i] > maxSlice {
			return l, fmt.Errorf("an index value with a slice of %d bytes", l.lens[i])
		}
	}
	if l.size() > maxRecord {
		return l, fmt.Errorf("an index value of a record of %d bytes", l.size())
	}
	return l, nil
}

func pad(n int64) int64 { return (n + align - 1) &^ (align - 1) }

// header returns the first bytes of a pack.
func header(pack uint32) []byte { return headerOf(version, maxSlice, pack) }

// oldHeader returns the header as version 1 wrote it.
func oldHeader(pack uint32) []byte { return headerOf(1, oldMaxSlice, pack) }

func headerOf(version, slice, pack uint32) []byte {
	b := make([]byte, 0, packHead)
	b = append(b, packMagic...)
	for _, v := range []uint32{version, blockstore.BlockSize, slice, pack} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = append(b, make([]byte, packHead-4-len(b))...)
	return binary.LittleEndian.AppendUint32(b, checksum(b))
}

var errBadHeader = errors.New("the header of the pack")

// checkHeader returns an error if b is not a header of this pack, in this version or the one
// before.
func checkHeader(b []byte, pack uint32) error {
	if len(b) < packHead || string(b[:8]) != packMagic {
		return fmt.Errorf("%w: it does not begin as a pack", errBadHeader)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v > version {
		return fmt.Errorf("it has version %d, made by a newer imsfs; this one knows version %d: %w", v, version, errors.ErrUnsupported)
	}
	if head := string(b[:packHead]); head != string(header(pack)) && head != string(oldHeader(pack)) {
		return fmt.Errorf("%w: it is damaged, or another pack's", errBadHeader)
	}
	return nil
}

func checksum(parts ...[]byte) uint32 {
	var sum uint32
	for _, p := range parts {
		sum = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), p)
	}
	return sum
}

// sliceSum returns a slice's CRC. It covers the record's name and the slice's number, so that a
// slice in the wrong place is detected.
func sliceSum(id name, i int, head, stored []byte) uint32 {
	var who [33]byte
	copy(who[:], id[:])
	who[32] = byte(i)
	return checksum(who[:], head, stored)
}
