package iso

import (
	"context"
	"encoding/binary"
	"unicode/utf16"

	"github.com/imsfs/imsfs/formats"
)

const (
	anchorAt      = 256 // the sector of the anchor, on discs of 2048-byte sectors
	maxSequence   = 32  // sectors of the volume descriptor sequence that are looked at
	tagAnchor     = 2
	tagLogical    = 6
	tagTerminator = 8
)

// udfLabel finds the name of UDF's logical volume. A disc that has none where it is looked for is
// as good as any other.
func udfLabel(ctx context.Context, src formats.Source) (string, error) {
	le := binary.LittleEndian
	anchor, err := readSector(ctx, src, anchorAt, "UDF anchor")
	if anchor == nil || le.Uint16(anchor) != tagAnchor {
		return "", err
	}
	sectors, first := int64(le.Uint32(anchor[16:])/sector), int64(le.Uint32(anchor[20:]))
	for i := range min(sectors, maxSequence) {
		b, err := readSector(ctx, src, first+i, "UDF descriptor")
		if b == nil {
			return "", err
		}
		switch le.Uint16(b) {
		case tagLogical:
			return dstring(b[84 : 84+128]), nil
		case tagTerminator:
			return "", nil
		}
	}
	return "", nil
}

// dstring decodes UDF's strings: the number of bits a character has, the characters, and in the
// last byte how many of all these bytes are used.
func dstring(b []byte) string {
	used := min(int(b[len(b)-1]), len(b)-1)
	if used == 0 {
		return ""
	}
	text := b[1:used]
	var units []uint16
	switch b[0] {
	case 8:
		for _, c := range text {
			units = append(units, uint16(c))
		}
	case 16:
		for ; len(text) >= 2; text = text[2:] {
			units = append(units, binary.BigEndian.Uint16(text))
		}
	}
	return string(utf16.Decode(units))
}
