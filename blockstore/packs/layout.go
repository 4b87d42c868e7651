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

	// maxRecord is the length limit of a record: no slice is stored longer than it is.
	maxRecord = recordHead + maxSlices*sliceHead + blockstore.BlockSize
)

// A block is cut into three slices: what a read of 4 KiB has to decode. Version 1 made four, of 16 KiB each.
const (
	blockSlices    = 3
	oldBlockSlices = 4
	oldMaxSlice    = 16 << 10
)

// sliceStart is where slice i of a block of so many slices begins; that of slice number count is the block's end.
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

// sliceAt is which slice of a block of so many slices has its byte off.
func sliceAt(count, off int) int {
	i := count - 1
	for sliceStart(count, i) > off {
		i--
	}
	return i
}

// kind says what a record's plain bytes are. The value is part of the index keys, too.
type kind uint8

const (
	blockKind   kind = 1 // a block
	segmentKind kind = 2 // an encoded complete segment
	rootKind    kind = 3 // a part of a complete disk's list of segments
)

// codec says how a slice is stored.
type codecID uint8

const (
	plainCodec codecID = iota // as it is
	zstdCodec                 // one Zstandard frame
	zeroCodec                 // not at all: it is zeros
)

// name is what a record is found by: a block's or segment's ID, or which part of which disk.
type name [32]byte

// location says where a record is and how long its slices are stored: all that a read of one slice has to know.
type location struct {
	pack  uint32
	off   int64 // of the record in the pack
	lens  [maxSlices]uint16
	count int // slices
}

// size is the record's length.
func (l location) size() int64 { return pad(l.slice(l.count)) }

// slice is where slice i begins in the record.
func (l location) slice(i int) int64 {
	n := int64(recordHead)
	for _, stored := range l.lens[:i] {
		n += sliceHead + int64(stored)
	}
	return n
}

// end is the offset in the pack behind the record.
func (l location) end() int64 { return l.off + l.size() }

// encode makes the index value: pack, offset in units of align, a length a slice.
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

// header makes the first bytes of a pack.
func header(pack uint32) []byte { return headerOf(version, maxSlice, pack) }

// oldHeader is how version 1 made them.
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

// checkHeader refuses what does not begin as pack number pack of this version or the one before.
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

// sliceSum is a slice's CRC. It covers whose slice it is, so that one found in a wrong place is not taken for right.
func sliceSum(id name, i int, head, stored []byte) uint32 {
	var who [33]byte
	copy(who[:], id[:])
	who[32] = byte(i)
	return checksum(who[:], head, stored)
}
