package vhd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
)

const (
	sectorSize      = 512
	footerSize      = 512
	shortFooterSize = 511 // before Virtual PC 2004
	headerSize      = 1024

	footerCookie = "conectix"
	headerCookie = "cxsparse"

	fileVersion   = 0x0001_0000 // 1.0, of footer and header
	noOffset      = ^uint64(0)  // there is not another structure
	featuresFixed = 2           // the bit that is always set

	typeFixed        = 2
	typeDynamic      = 3
	typeDifferencing = 4

	entrySize = 4          // of the BAT
	unused    = 1<<32 - 1  // BAT entry of a block that is not stored
	locators  = 8          // in a header
	nameBytes = 512        // of the parent's name in a header
	epoch     = 946684800  // 2000-01-01T00:00:00Z, the format's zero, in Unix time
	maxSize   = 2040 << 30 // of a disk with a BAT, and of any that is written
)

// footer is the structure at the end of every file, and of the copy at 0 of all but fixed disks.
type footer struct {
	features, version         uint32
	dataOffset                uint64 // of the header; noOffset in fixed disks
	timestamp                 uint32 // seconds since epoch
	creatorApp                [4]byte
	creatorVersion            uint32
	creatorOS                 [4]byte
	originalSize, currentSize uint64 // bytes
	geometry                  geometry
	diskType                  uint32
	uuid                      uuid
	savedState                uint8
}

// uuid is one of 16 bytes as they stand in the file.
type uuid [16]byte

// field names a range of a structure's bytes.
type field struct {
	name      string
	off, size int
}

// footerFields are those of footer, in order, by which errors and comparisons name them.
var footerFields = []field{
	{"cookie", 0, 8}, {"features", 8, 4}, {"version", 12, 4}, {"data_offset", 16, 8}, {"timestamp", 24, 4},
	{"creator_app", 28, 4}, {"creator_version", 32, 4}, {"creator_os", 36, 4}, {"original_size", 40, 8},
	{"current_size", 48, 8}, {"geometry", 56, 4}, {"type", 60, 4}, {"checksum", 64, 4}, {"uuid", 68, 16},
	{"saved_state", 84, 1}, {"reserved", 85, 427},
}

func decodeFooter(b []byte) footer {
	be := binary.BigEndian
	return footer{
		features:       be.Uint32(b[8:]),
		version:        be.Uint32(b[12:]),
		dataOffset:     be.Uint64(b[16:]),
		timestamp:      be.Uint32(b[24:]),
		creatorApp:     [4]byte(b[28:32]),
		creatorVersion: be.Uint32(b[32:]),
		creatorOS:      [4]byte(b[36:40]),
		originalSize:   be.Uint64(b[40:]),
		currentSize:    be.Uint64(b[48:]),
		geometry:       geometry{cylinders: be.Uint16(b[56:]), heads: b[58], sectors: b[59]},
		diskType:       be.Uint32(b[60:]),
		uuid:           uuid(b[68:84]),
		savedState:     b[84],
	}
}

// encode gives the footer's 512 bytes with the right checksum.
func (f *footer) encode() []byte {
	be := binary.BigEndian
	b := make([]byte, 0, footerSize)
	b = append(b, footerCookie...)
	b = be.AppendUint32(b, f.features)
	b = be.AppendUint32(b, f.version)
	b = be.AppendUint64(b, f.dataOffset)
	b = be.AppendUint32(b, f.timestamp)
	b = append(b, f.creatorApp[:]...)
	b = be.AppendUint32(b, f.creatorVersion)
	b = append(b, f.creatorOS[:]...)
	b = be.AppendUint64(b, f.originalSize)
	b = be.AppendUint64(b, f.currentSize)
	b = be.AppendUint16(b, f.geometry.cylinders)
	b = append(b, f.geometry.heads, f.geometry.sectors)
	b = be.AppendUint32(b, f.diskType)
	b = append(b, 0, 0, 0, 0)
	b = append(b, f.uuid[:]...)
	b = append(b, f.savedState)
	b = b[:footerSize] // fresh memory: the rest is zeros
	be.PutUint32(b[footerSumAt:], checksum(b, footerSumAt))
	return b
}

// header is the structure that dynamic and differencing disks have beside the footer.
type header struct {
	dataOffset, tableOffset             uint64
	version, maxTableEntries, blockSize uint32
	parentUUID                          uuid
	parentTimestamp                     uint32
	parentName                          [nameBytes]byte // UTF-16, big-endian
	locators                            [locators]locator
}

// locator says where in the file a name of the parent is.
type locator struct {
	code         [4]byte
	space, bytes uint32
	offset       uint64
}

const (
	footerSumAt = 64
	headerSumAt = 36
	nameAt      = 64
	locatorsAt  = nameAt + nameBytes
	locatorSize = 24
)

// headerFields are those of header that errors name.
var headerFields = []field{
	{"cookie", 0, 8}, {"data_offset", 8, 8}, {"table_offset", 16, 8}, {"header_version", 24, 4}, {"max_table_entries", 28, 4},
	{"block_size", 32, 4}, {"checksum", headerSumAt, 4}, {"parent_uuid", 40, 16}, {"parent_timestamp", 56, 4},
	{"parent_unicode_name", nameAt, nameBytes},
}

func decodeHeader(b []byte) header {
	be := binary.BigEndian
	h := header{
		dataOffset:      be.Uint64(b[8:]),
		tableOffset:     be.Uint64(b[16:]),
		version:         be.Uint32(b[24:]),
		maxTableEntries: be.Uint32(b[28:]),
		blockSize:       be.Uint32(b[32:]),
		parentUUID:      uuid(b[40:56]),
		parentTimestamp: be.Uint32(b[56:]),
		parentName:      [nameBytes]byte(b[nameAt:locatorsAt]),
	}
	for i := range h.locators {
		l := b[locatorsAt+i*locatorSize:]
		h.locators[i] = locator{code: [4]byte(l[:4]), space: be.Uint32(l[4:]), bytes: be.Uint32(l[8:]), offset: be.Uint64(l[16:])}
	}
	return h
}

// encode gives the header's 1024 bytes with the right checksum.
func (h *header) encode() []byte {
	be := binary.BigEndian
	b := make([]byte, headerSize)
	copy(b, headerCookie)
	be.PutUint64(b[8:], h.dataOffset)
	be.PutUint64(b[16:], h.tableOffset)
	be.PutUint32(b[24:], h.version)
	be.PutUint32(b[28:], h.maxTableEntries)
	be.PutUint32(b[32:], h.blockSize)
	copy(b[40:], h.parentUUID[:])
	be.PutUint32(b[56:], h.parentTimestamp)
	copy(b[nameAt:], h.parentName[:])
	for i, l := range h.locators {
		at := b[locatorsAt+i*locatorSize:]
		copy(at, l.code[:])
		be.PutUint32(at[4:], l.space)
		be.PutUint32(at[8:], l.bytes)
		be.PutUint64(at[16:], l.offset)
	}
	be.PutUint32(b[headerSumAt:], checksum(b, headerSumAt))
	return b
}

// checksum returns the right value for the field at offset at of the structure b: NOT of the sum of
// its bytes, those four taken as zeros.
func checksum(b []byte, at int) uint32 {
	var sum uint32
	for i, c := range b {
		if i < at || i >= at+4 {
			sum += uint32(c)
		}
	}
	return ^sum
}

// seal says why b is not the structure at all, by its cookie and checksum, or "".
func seal(b []byte, cookie string, sumAt int) string {
	if !bytes.HasPrefix(b, []byte(cookie)) {
		return fmt.Sprintf("cookie is %q, must be %q", b[:len(cookie)], cookie)
	}
	if got, want := binary.BigEndian.Uint32(b[sumAt:]), checksum(b, sumAt); got != want {
		return fmt.Sprintf("checksum is %#08x, must be %#08x", got, want)
	}
	return ""
}

// String gives the bytes in order; a UUID of zeros is none.
func (u uuid) String() string {
	if u == (uuid{}) {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

func formatVersion(v uint32) string { return fmt.Sprintf("%d.%d", v>>16, v&0xffff) }

func formatTime(t uint32) string { return time.Unix(epoch+int64(t), 0).UTC().Format(time.RFC3339) }

// roundUp rounds n up to a multiple of m, a power of two.
func roundUp(n, m int64) int64 { return (n + m - 1) &^ (m - 1) }
