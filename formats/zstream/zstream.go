// Package zstream has the structures that ZVHD and ZVHD2 share: the vendor's header, which looks
// like the footer of a VHD and is little-endian, and the chunks that hold compressed blocks.
// docs/formats/zvhd.md and docs/formats/zvhd2.md describe every byte.
package zstream

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/imsfs/imsfs/formats"
)

const (
	Unit       = 4096 // chunks, headers and tables are whole units
	HeaderSize = 512  // a header's fields; zeros fill its unit

	CurrentSizeUnit = 1 << 30

	featuresReserved = 2           // VHD's bit that is always set
	fileVersion      = 0x0001_0000 // 1.0
	noDataOffset     = ^uint64(0)  // there is not another header
	creatorApp       = "tap\x00"
	creatorVersion   = 0x0001_0004 // 1.4
	diskType         = 4

	// SecondsTo2000 is 2000-01-01T00:00:00Z, the formats' epoch, in Unix time.
	SecondsTo2000 = 946684800
)

// Header is the first 87 bytes of a header. ZVHD2 has more fields after them.
type Header struct {
	Cookie         [8]byte
	Features       uint32
	Version        uint32
	DataOffset     uint64
	Timestamp      uint32 // seconds since 2000
	CreatorApp     [4]byte
	CreatorVersion uint32
	CreatorOS      uint32
	OriginalSize   uint64
	CurrentSize    uint64
	Geometry       uint32
	DiskType       uint32
	Checksum       uint32
	UUID           [16]byte
	Saved          uint8
	Hidden         uint8
	Align64        uint8
}

// Field names a range of the header's bytes.
type Field struct {
	Name      string
	Off, Size int
}

// Fields returns the fields of Header, in order.
func Fields() []Field {
	return []Field{
		{"cookie", 0, 8}, {"features", 8, 4}, {"version", 12, 4}, {"data_offset", 16, 8},
		{"timestamp", 24, 4}, {"creator_app", 28, 4}, {"creator_version", 32, 4}, {"creator_os", 36, 4},
		{"original_size", 40, 8}, {"current_size", 48, 8}, {"geometry", 56, 4}, {"type", 60, 4},
		{"checksum", 64, 4}, {"uuid", 68, 16}, {"saved", 84, 1}, {"hidden", 85, 1}, {"align_64", 86, 1},
	}
}

// FieldOffset returns where the named field starts.
func FieldOffset(fields []Field, name string) int64 {
	for _, f := range fields {
		if f.Name == name {
			return int64(f.Off)
		}
	}
	panic("zstream: no field " + name) // bug: rules name fields of the tables only
}

// New returns the header of a new disk of size bytes, without a checksum. A timestamp before 2000
// or after 2136 is written as the nearest that the format can hold.
func New(cookie string, size int64, opts formats.CreateOptions) Header {
	return Header{
		Cookie:         [8]byte([]byte(cookie)),
		Features:       featuresReserved,
		Version:        fileVersion,
		DataOffset:     noDataOffset,
		Timestamp:      uint32(min(max(opts.Timestamp, SecondsTo2000)-SecondsTo2000, math.MaxUint32)),
		CreatorApp:     [4]byte([]byte(creatorApp)),
		CreatorVersion: creatorVersion,
		OriginalSize:   uint64(size),
		CurrentSize:    RoundUp(uint64(size), CurrentSizeUnit),
		Geometry:       geometry(uint64(size)),
		DiskType:       diskType,
		UUID:           opts.UUID,
	}
}

// Decode reads the fields at the start of b.
func Decode(b []byte) Header {
	le := binary.LittleEndian
	return Header{
		Cookie:         [8]byte(b[0:8]),
		Features:       le.Uint32(b[8:]),
		Version:        le.Uint32(b[12:]),
		DataOffset:     le.Uint64(b[16:]),
		Timestamp:      le.Uint32(b[24:]),
		CreatorApp:     [4]byte(b[28:32]),
		CreatorVersion: le.Uint32(b[32:]),
		CreatorOS:      le.Uint32(b[36:]),
		OriginalSize:   le.Uint64(b[40:]),
		CurrentSize:    le.Uint64(b[48:]),
		Geometry:       le.Uint32(b[56:]),
		DiskType:       le.Uint32(b[60:]),
		Checksum:       le.Uint32(b[64:]),
		UUID:           [16]byte(b[68:84]),
		Saved:          b[84],
		Hidden:         b[85],
		Align64:        b[86],
	}
}

// Append appends the fields to b, the checksum as it is: see Sum.
func (h *Header) Append(b []byte) []byte {
	le := binary.LittleEndian
	b = append(b, h.Cookie[:]...)
	b = le.AppendUint32(b, h.Features)
	b = le.AppendUint32(b, h.Version)
	b = le.AppendUint64(b, h.DataOffset)
	b = le.AppendUint32(b, h.Timestamp)
	b = append(b, h.CreatorApp[:]...)
	b = le.AppendUint32(b, h.CreatorVersion)
	b = le.AppendUint32(b, h.CreatorOS)
	b = le.AppendUint64(b, h.OriginalSize)
	b = le.AppendUint64(b, h.CurrentSize)
	b = le.AppendUint32(b, h.Geometry)
	b = le.AppendUint32(b, h.DiskType)
	b = le.AppendUint32(b, h.Checksum)
	b = append(b, h.UUID[:]...)
	return append(b, h.Saved, h.Hidden, h.Align64)
}

// Sum returns the checksum that the header in b must have: NOT of the sum of its 512 bytes, the
// checksum's own four taken as zeros.
func Sum(b []byte) uint32 {
	var sum uint32
	for i, c := range b[:HeaderSize] {
		if i < 64 || i >= 68 {
			sum += uint32(c)
		}
	}
	return ^sum
}

// Fault says why the bytes are not a header with that cookie, or "".
func Fault(b []byte, cookie string) string {
	h := Decode(b)
	if string(h.Cookie[:]) != cookie {
		return fmt.Sprintf("cookie is %q, must be %q", h.Cookie[:], cookie)
	}
	sum := Sum(b)
	// Old versions of the vendor's tool summed before they set hidden.
	old := h.Hidden != 0 && string(h.CreatorApp[:3]) == "tap" && (h.CreatorVersion == 0x0000_0001 || h.CreatorVersion == 0x0001_0001)
	if h.Checksum == sum || old && h.Checksum == sum+uint32(h.Hidden) {
		return ""
	}
	return fmt.Sprintf("checksum is %#08x, must be %#08x", h.Checksum, sum)
}

// OtherVersion returns the version of a header that is not of the one that is read, "" of one that
// is.
func (h *Header) OtherVersion() string {
	if h.Version == fileVersion {
		return ""
	}
	return fmt.Sprintf("version %s is not read, only %s", formatVersion(h.Version), formatVersion(fileVersion))
}

// Rule is a condition that a field must fulfil. Rules are tried in order; a later one may depend on
// the earlier ones.
type Rule struct {
	Field string
	Got   uint64
	OK    bool
	Must  string
}

// Must returns a rule.
func Must(field string, got uint64, ok bool, must string) Rule { return Rule{field, got, ok, must} }

// Rules returns the rules for the fields of Header.
func (h *Header) Rules() []Rule {
	current := RoundUp(h.OriginalSize, CurrentSizeUnit)
	return []Rule{
		{"features", uint64(h.Features), h.Features == featuresReserved, "2"},
		{"data_offset", h.DataOffset, h.DataOffset == noDataOffset, "all ones"},
		{"type", uint64(h.DiskType), h.DiskType == diskType, "4"},
		{"original_size", h.OriginalSize, h.OriginalSize > 0 && h.OriginalSize%512 == 0 && h.OriginalSize <= formats.MaxDiskSize,
			fmt.Sprintf("a multiple of 512 up to %d", int64(formats.MaxDiskSize))},
		{"current_size", h.CurrentSize, h.CurrentSize == current, fmt.Sprintf("original_size rounded up to a whole GiB, %d", current)},
	}
}

// Details returns the facts that info shows.
func (h *Header) Details() []formats.Detail {
	return []formats.Detail{
		{Key: "creator_app", Value: strings.Trim(strconv.QuoteToASCII(string(h.CreatorApp[:3])), `"`)}, // hostile bytes escaped
		{Key: "creator_version", Value: formatVersion(h.CreatorVersion)},
		{Key: "timestamp", Value: time.Unix(SecondsTo2000+int64(h.Timestamp), 0).UTC().Format(time.RFC3339)},
		{Key: "uuid", Value: fmt.Sprintf("%x-%x-%x-%x-%x", h.UUID[0:4], h.UUID[4:6], h.UUID[6:8], h.UUID[8:10], h.UUID[10:16])},
		{Key: "original_size", Value: strconv.FormatUint(h.OriginalSize, 10)},
		{Key: "geometry", Value: fmt.Sprintf("%d/%d/%d", h.Geometry>>16, h.Geometry>>8&0xff, h.Geometry&0xff)},
	}
}

func formatVersion(v uint32) string { return fmt.Sprintf("%d.%d", v>>16, v&0xffff) }

// geometry returns VHD's cylinders, heads and sectors per track for a disk of size bytes (Virtual
// Hard Disk Image Format Specification, appendix "CHS calculation"), packed as the header has them.
func geometry(size uint64) uint32 {
	sectors := min(size/512, 65535*16*255)
	spt, heads := uint64(17), uint64(0)
	tracks := sectors / spt
	switch {
	case sectors >= 65535*16*63:
		spt, heads = 255, 16
		tracks = sectors / spt
	default:
		heads = max(4, (tracks+1023)/1024)
		if tracks >= heads*1024 || heads > 16 {
			spt, heads = 31, 16
			tracks = sectors / spt
		}
		if tracks >= heads*1024 {
			spt, heads = 63, 16
			tracks = sectors / spt
		}
	}
	return uint32(tracks/heads<<16 | heads<<8 | spt)
}

// RoundUp rounds n up to a multiple of m, a power of two.
func RoundUp[T int | int64 | uint64](n, m T) T { return (n + m - 1) &^ (m - 1) }
