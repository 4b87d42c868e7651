package packs

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

// These are the keys of the database. Numbers in keys are most significant byte first, so that keys
// sort as numbers do.
//
//	block/KIND NAME       where a record is: location.encode
//	segment/ID            a complete segment, shared by all maps that have it: Segment.AppendTo
//	map/DISK SEGMENT      a disk's segment: see mapped
//	disk/DISK             diskRecord, JSON
//	count/DISK            numbers of loaded blocks and of data blocks: 8 bytes each
//	use/DISK SEGMENT      last use of a segment of an evictable disk: a number, 8 bytes
//	quarantine/ID         where a damaged block was: location.encode
//	packs/tail            see tail.encode
const (
	indexPrefix      = "block/"
	segmentPrefix    = "segment/"
	mapPrefix        = "map/"
	diskPrefix       = "disk/"
	countPrefix      = "count/"
	usePrefix        = "use/"
	quarantinePrefix = "quarantine/"
)

func indexKey(k kind, id name) []byte {
	return append(append([]byte(indexPrefix), byte(k)), id[:]...)
}

func segmentKey(id blockstore.SegmentID) []byte { return append([]byte(segmentPrefix), id[:]...) }

func quarantineKey(id blockstore.ID) []byte { return append([]byte(quarantinePrefix), id[:]...) }

func diskKey(prefix string, disk uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(prefix), disk)
}

// place names one segment of one disk.
type place struct {
	disk uint64
	seg  int64
}

func (p place) key(prefix string) []byte {
	return binary.BigEndian.AppendUint32(diskKey(prefix, p.disk), uint32(p.seg))
}

func parsePlace(prefix string, key []byte) (place, error) {
	if len(key) != len(prefix)+12 {
		return place{}, damagedKey(key, "it has another length")
	}
	return place{binary.BigEndian.Uint64(key[len(prefix):]), int64(binary.BigEndian.Uint32(key[len(prefix)+8:]))}, nil
}

func damagedKey(key []byte, why string) error {
	return fmt.Errorf("the record at key %q: %s: %w", key, why, kv.ErrDamaged)
}

// find returns a key's value, or nil if there is none.
func find(tx *kv.Tx, key []byte) ([]byte, error) {
	v, err := tx.Get(key)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && v == nil {
		v = []byte{}
	}
	return v, err
}

// lookUp returns the location of a record; ok is false if the index does not have it.
func lookUp(tx *kv.Tx, k kind, id name) (loc location, ok bool, err error) {
	key := indexKey(k, id)
	v, err := find(tx, key)
	if err != nil || v == nil {
		return location{}, false, err
	}
	if loc, err = parseLocation(v); err != nil {
		return location{}, false, damagedKey(key, err.Error())
	}
	return loc, true, nil
}

// mapped is the database's value for one segment of one disk: its entries, or the name of a shared
// segment.
type mapped struct {
	private blockstore.Segment // nil if it is shared
	shared  blockstore.SegmentID
	data    int64 // data entries of a shared one
}

// A map value begins with its form.
const (
	privateForm = 0 // followed by the encoded segment
	sharedForm  = 1 // followed by the number of data entries, 2 bytes, and the segment's ID
)

func (m mapped) encode() []byte {
	if m.private != nil {
		return m.private.AppendTo([]byte{privateForm})
	}
	return append(binary.LittleEndian.AppendUint16([]byte{sharedForm}, uint16(m.data)), m.shared[:]...)
}

func parseMapped(key, b []byte) (mapped, error) {
	switch {
	case len(b) > 0 && b[0] == privateForm:
		segment, err := blockstore.ParseSegment(b[1:])
		if err != nil {
			return mapped{}, damagedKey(key, err.Error())
		}
		return mapped{private: segment}, nil
	case len(b) == 3+len(blockstore.SegmentID{}) && b[0] == sharedForm:
		return mapped{shared: blockstore.SegmentID(b[3:]), data: int64(binary.LittleEndian.Uint16(b[1:]))}, nil
	}
	return mapped{}, damagedKey(key, "it is no map segment")
}

// count returns how many of the segment's n entries are not absent, and how many are data.
func (m mapped) count(n int) (loaded, data int64) {
	if m.private != nil {
		return m.private.Count()
	}
	return int64(n), m.data
}

// diskRecord holds the facts about a disk that are not in its map.
type diskRecord struct {
	Size      int64  `json:"size"`
	Evictable bool   `json:"evictable,omitempty"`
	Note      string `json:"note,omitempty"`
}

// readDisk returns a disk's record, or iofs.ErrNotExist.
func readDisk(tx *kv.Tx, disk uint64) (diskRecord, error) {
	key := diskKey(diskPrefix, disk)
	v, err := find(tx, key)
	if err != nil {
		return diskRecord{}, err
	}
	if v == nil {
		return diskRecord{}, fmt.Errorf("disk %d: %w", disk, iofs.ErrNotExist)
	}
	return parseDisk(key, v)
}

func parseDisk(key, v []byte) (diskRecord, error) {
	var rec diskRecord
	if err := json.Unmarshal(v, &rec); err != nil {
		return rec, damagedKey(key, err.Error())
	}
	if rec.Size < 0 || rec.Size > blockstore.MaxDiskSize {
		return rec, damagedKey(key, "it has an impossible size")
	}
	return rec, nil
}

// count is a disk's count record.
type count struct{ loaded, data int64 }

func (c count) encode() []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(c.loaded)), uint64(c.data))
}

func readCount(tx *kv.Tx, disk uint64) (count, error) {
	key := diskKey(countPrefix, disk)
	v, err := find(tx, key)
	if err != nil || v == nil {
		return count{}, err
	}
	if len(v) != 16 {
		return count{}, damagedKey(key, "it has another length")
	}
	return count{int64(binary.LittleEndian.Uint64(v)), int64(binary.LittleEndian.Uint64(v[8:]))}, nil
}

// readMapped returns a disk's map value at a place; ok is false if the whole segment is absent.
func readMapped(tx *kv.Tx, p place) (m mapped, ok bool, err error) {
	key := p.key(mapPrefix)
	v, err := find(tx, key)
	if err != nil || v == nil {
		return mapped{}, false, err
	}
	m, err = parseMapped(key, v)
	return m, err == nil, err
}

// readSegment returns the n entries at a place.
func readSegment(tx *kv.Tx, p place, n int) (blockstore.Segment, error) {
	m, ok, err := readMapped(tx, p)
	if err != nil {
		return nil, err
	}
	segment := m.private
	switch {
	case !ok:
		segment = make(blockstore.Segment, n)
	case segment == nil:
		if segment, err = readShared(tx, m.shared); err != nil {
			return nil, err
		}
	}
	if len(segment) != n {
		return nil, damagedKey(p.key(mapPrefix), "it has another number of entries than the disk")
	}
	return segment, nil
}

func readShared(tx *kv.Tx, id blockstore.SegmentID) (blockstore.Segment, error) {
	key := segmentKey(id)
	v, err := tx.Get(key)
	if err != nil {
		return nil, damagedKey(key, "it is named by a map and cannot be read: "+err.Error())
	}
	segment, err := blockstore.ParseSegment(v)
	if err != nil {
		return nil, damagedKey(key, err.Error())
	}
	return segment, nil
}
