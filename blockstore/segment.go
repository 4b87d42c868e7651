package blockstore

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// State is the state of a block in a map.
type State uint8

// The values are those of the encoding, which never has Lost.
const (
	Absent State = iota // not loaded: the source has it
	Zero                // all zeros, not stored
	Data                // stored under an ID
	Lost                // damaged: as good as absent, but only bytes with its ID are the block's
)

// Entry is a block's entry in a map. Only Data and Lost have an ID.
type Entry struct {
	State State
	ID    ID
}

// EntryOf returns the entry of a block with these bytes. A block shorter than BlockSize is the last
// of its disk.
func EntryOf(plain []byte) Entry {
	if IsZero(plain) {
		return Entry{State: Zero}
	}
	return Entry{State: Data, ID: IDOf(plain)}
}

// Segment is a part of a map. It has SegmentBlocks entries, or fewer at the disk's end. A shared
// segment must not be changed.
type Segment []Entry

// SegmentID is the SHA-256 of the IDs of a complete segment's blocks, in order. Blocks of zeros
// count with ZeroID.
type SegmentID [sha256.Size]byte

// String returns the ID in hex.
func (id SegmentID) String() string { return hex.EncodeToString(id[:]) }

// ZeroSegmentID is the SegmentID of a full segment of zeros.
var ZeroSegmentID = SegmentID{
	0x12, 0x8c, 0x65, 0xb0, 0x02, 0x92, 0x71, 0x95, 0x58, 0xd7, 0x00, 0x34, 0x2e, 0x22, 0xde, 0x5f,
	0x49, 0xe7, 0x57, 0xff, 0x17, 0x08, 0x57, 0x36, 0x3b, 0x55, 0x5c, 0x21, 0x0a, 0xe3, 0xcc, 0x51,
}

// Count returns how many entries are not absent, and how many of those are data.
func (s Segment) Count() (loaded, data int64) {
	for _, e := range s {
		if e.State != Absent {
			loaded++
		}
		if e.State == Data {
			data++
		}
	}
	return loaded, data
}

// Complete reports whether no entry is absent.
func (s Segment) Complete() bool {
	loaded, _ := s.Count()
	return loaded == int64(len(s))
}

// ID returns the SegmentID of a complete segment.
func (s Segment) ID() SegmentID {
	ids := make([]byte, 0, SegmentBlocks*len(ID{}))
	for _, e := range s {
		if e.State == Zero {
			e.ID = ZeroID
		}
		ids = append(ids, e.ID[:]...)
	}
	return sha256.Sum256(ids)
}

// segmentHead is the length of the head: algorithm tag, a zero byte, number of entries (2 bytes,
// little-endian).
const segmentHead = 4

// MaxSegment is the length limit of an encoded segment.
const MaxSegment = segmentHead + SegmentBlocks/4 + SegmentBlocks*sha256.Size

// AppendTo appends the segment's encoding to b: the head, the states (two bits each, lowest first),
// and the IDs of the data entries in order. A segment has only one encoding.
func (s Segment) AppendTo(b []byte) []byte {
	b = append(b, SHA256, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
	states := len(b)
	b = append(b, make([]byte, (len(s)+3)/4)...)
	for i, e := range s {
		b[states+i/4] |= byte(e.State) << (i % 4 * 2)
		if e.State == Data {
			b = append(b, e.ID[:]...)
		}
	}
	return b
}

// ParseSegment decodes the output of AppendTo. It returns an error for anything else.
func ParseSegment(b []byte) (Segment, error) {
	if len(b) < segmentHead || b[0] != SHA256 || b[1] != 0 {
		return nil, fmt.Errorf("map segment of %d bytes: it does not begin as one with SHA-256 IDs", len(b))
	}
	n := int(binary.LittleEndian.Uint16(b[2:]))
	if n == 0 || n > SegmentBlocks || len(b) < segmentHead+(n+3)/4 {
		return nil, fmt.Errorf("map segment of %d bytes: it says it has %d entries", len(b), n)
	}
	states, ids := b[segmentHead:segmentHead+(n+3)/4], b[segmentHead+(n+3)/4:]
	s := make(Segment, n)
	for i := range s {
		s[i].State = State(states[i/4] >> (i % 4 * 2) & 3)
		if s[i].State < Data {
			continue
		}
		if s[i].State > Data || len(ids) < len(ID{}) {
			return nil, fmt.Errorf("map segment of %d bytes: entry %d of %d is in no state there is, or its ID is missing", len(b), i, n)
		}
		s[i].ID, ids = ID(ids[:len(ID{})]), ids[len(ID{}):]
		if s[i].ID == ZeroID {
			return nil, fmt.Errorf("map segment: entry %d names a block of zeros by its ID", i)
		}
	}
	spare := n % 4 * 2
	if len(ids) != 0 || spare != 0 && states[len(states)-1]>>spare != 0 {
		return nil, fmt.Errorf("map segment of %d bytes: there is more than its %d entries", len(b), n)
	}
	return s, nil
}
