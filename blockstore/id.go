package blockstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
)

// SHA256 is the algorithm tag that is stored with every ID. No other algorithm exists yet.
const SHA256 = 1

// ID is the SHA-256 of a block's BlockSize plain bytes. The last block of a disk is padded with
// zeros.
type ID [sha256.Size]byte

// String returns the ID in hex.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ZeroID is the ID of a block of zeros. Such a block is never stored, but its ID counts in digests.
var ZeroID = ID{
	0xde, 0x2f, 0x25, 0x60, 0x64, 0xa0, 0xaf, 0x79, 0x77, 0x47, 0xc2, 0xb9, 0x75, 0x05, 0xdc, 0x0b,
	0x9f, 0x3d, 0xf0, 0xde, 0x4f, 0x48, 0x9e, 0xac, 0x73, 0x1c, 0x23, 0xae, 0x9c, 0xa9, 0xcc, 0x31,
}

// IDOf returns the ID of a block. A block shorter than BlockSize is the last of its disk.
func IDOf(plain []byte) ID {
	if len(plain) == BlockSize {
		return sha256.Sum256(plain)
	}
	var block [BlockSize]byte
	copy(block[:], plain)
	return sha256.Sum256(block[:])
}

// IsZero reports whether p is all zeros.
func IsZero(p []byte) bool {
	// All bytes are zero if the first is and each equals the next. Comparing p with itself uses
	// vectors.
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}
