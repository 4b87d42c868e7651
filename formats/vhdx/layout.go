package vhdx

import (
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strings"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	tib = 1 << 40

	identifier  = "vhdxfile"
	creatorSize = 512 // UTF-16, after the identifier

	headerSize  = 4 * kib
	tableSize   = 64 * kib // of a region table, and of the metadata table
	headersEnd  = 192 * kib
	sectionSize = 1 * mib // before all regions, log and blocks

	maxEntries = 2047 // of a region table or a metadata table
	entrySize  = 32   // of these

	minBlockSize = 1 * mib
	maxBlockSize = 256 * mib
	maxDiskSize  = 64 * tib
	// maxFileSize is twice the largest disk: room for all of it, for all tables, and for much that
	// is free.
	maxFileSize = 128 * tib

	// sectorsPerBitmap is the number of sectors of the disk that a sector bitmap block of 1 MiB
	// speaks of.
	sectorsPerBitmap = 8 * mib
)

// headerAt and tableAt are where the copies of the header and of the region table lie.
var (
	headerAt = [2]int64{64 * kib, 128 * kib}
	tableAt  = [2]int64{192 * kib, 256 * kib}
)

// Names of regions and metadata items.
const (
	batRegion      = "2dc27766-f623-4200-9d64-115e9bfd4a08"
	metadataRegion = "8b7ca206-4790-4b9a-b8fe-575f050f886e"

	fileParameters     = "caa16737-fa36-4d43-b3b6-33f0aa44e76b"
	virtualDiskSize    = "2fa54224-cd1b-4876-b211-5dbed83bf4b8"
	virtualDiskID      = "beca12ab-b2e6-4523-93ef-c309e000c746"
	logicalSectorSize  = "8141bf1d-a96f-4709-ba47-f233a8faab5f"
	physicalSectorSize = "cda348c7-445d-4471-9cc9-e9885251c556"
	parentLocator      = "a8d35f2d-b30b-454d-abf7-d3d84834ab0c"

	vhdxLocator = "b04aefb7-d19e-4a81-b789-25b8e9445913"
)

// guid is a GUID as it lies on disk: its first three fields are little-endian numbers.
type guid [16]byte

// String gives the usual text, in lower case and without braces.
func (g guid) String() string {
	u := g.swapped()
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// swapped turns the order of bytes on disk into that of the text, and back.
func (g guid) swapped() guid {
	return guid{g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]}
}

// parseGUID takes the text in either case, with or without braces.
func parseGUID(text string) (g guid, ok bool) {
	if inner, braced := strings.CutPrefix(text, "{"); braced {
		text, ok = strings.CutSuffix(inner, "}")
		if !ok {
			return g, false
		}
	}
	b, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(b) != len(g) {
		return g, false
	}
	g = guid(b).swapped()
	return g, g.String() == strings.ToLower(text)
}

// castagnoli is the polynomial of CRC-32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the CRC-32C of a structure whose bytes 4 to 7 are the checksum and count as zeros.
func checksum(b []byte) uint32 {
	sum := crc32.Update(0, castagnoli, b[:4])
	sum = crc32.Update(sum, castagnoli, make([]byte, 4))
	return crc32.Update(sum, castagnoli, b[8:])
}

// span is a named part of the file.
type span struct {
	what     string
	off, end int64
}

func (s span) overlaps(o span) bool { return s.off < o.end && o.off < s.end }

// roundUp rounds n up to a multiple of m, a power of two.
func roundUp[T int64 | uint64](n, m T) T { return (n + m - 1) &^ (m - 1) }

// powerOfTwo reports whether n is one that lies in [low, high].
func powerOfTwo(n, low, high int64) bool { return n >= low && n <= high && n&(n-1) == 0 }
