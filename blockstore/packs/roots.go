package packs

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/imsfs/imsfs/blockstore"
)

// rootPart is the number of segments that one root record lists: 16 GiB of disk.
const rootPart = 1024

// root is a part of a complete disk's map. The packs keep it for a rebuild without the database.
type root struct {
	disk     uint64
	part     uint32
	size     int64
	note     string
	segments []blockstore.SegmentID
}

// rootName returns the name of a root record.
func rootName(disk uint64, part uint32) (id name) {
	binary.BigEndian.PutUint64(id[:], disk)
	binary.BigEndian.PutUint32(id[8:], part)
	return id
}

func diskOfRoot(id name) uint64 { return binary.BigEndian.Uint64(id[:]) }

// encode returns the record's plain bytes: size, length of the note, note, segment IDs.
func (r root) encode() []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(r.size))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.note)))
	b = append(b, r.note...)
	for _, id := range r.segments {
		b = append(b, id[:]...)
	}
	return b
}

func parseRoot(id name, b []byte) (root, error) {
	r := root{disk: diskOfRoot(id), part: binary.BigEndian.Uint32(id[8:])}
	if id != rootName(r.disk, r.part) || len(b) < 12 {
		return r, errors.New("it is no part of a disk")
	}
	r.size = int64(binary.LittleEndian.Uint64(b))
	note := int64(binary.LittleEndian.Uint32(b[8:]))
	if b = b[12:]; r.size < 0 || r.size > blockstore.MaxDiskSize || note > int64(len(b)) {
		return r, errors.New("its size or its note is impossible")
	}
	r.note, b = string(b[:note]), b[note:]
	want := min(rootPart, blockstore.Segments(r.size)-int64(r.part)*rootPart)
	if want < 0 || int64(len(b)) != want*int64(len(blockstore.SegmentID{})) {
		return r, fmt.Errorf("it lists %d bytes of segments", len(b))
	}
	for ; len(b) > 0; b = b[len(blockstore.SegmentID{}):] {
		r.segments = append(r.segments, blockstore.SegmentID(b))
	}
	return r, nil
}

// rootParts returns the number of root records of a disk. An empty disk has one, too.
func rootParts(size int64) uint32 {
	return uint32(max(1, (blockstore.Segments(size)+rootPart-1)/rootPart))
}

// addRoots writes a complete disk's root records and replaces old ones.
func (b *batch) addRoots(disk uint64, d *diskState) error {
	ids := make([]blockstore.SegmentID, blockstore.Segments(d.rec.Size))
	for m, err := range mapOf(b.tx, disk) {
		if err != nil {
			return err
		}
		if m.seg >= int64(len(ids)) {
			return damagedKey(m.key(mapPrefix), "it is behind the disk's end")
		}
		ids[m.seg] = m.shared
	}
	for p, c := range b.changed {
		if p.disk == disk {
			ids[p.seg] = c.entries.ID()
		}
	}
	return b.putRoots(disk, d.rec, ids)
}

func (b *batch) putRoots(disk uint64, rec diskRecord, ids []blockstore.SegmentID) error {
	for part := range rootParts(rec.Size) {
		from := int(part) * rootPart
		r := root{disk, part, rec.Size, rec.Note, ids[from:min(from+rootPart, len(ids))]}
		id := rootName(disk, part)
		if err := b.drop(rootKind, id); err != nil {
			return err
		}
		record, loc := appendRecord(nil, nil, rootKind, id, r.encode())
		if err := b.put(rootKind, id, record, loc); err != nil {
			return err
		}
	}
	return nil
}

// dropRoots drops a disk's root records, so that a rebuild does not bring back an old state.
func (b *batch) dropRoots(disk uint64, d *diskState) error {
	for part := range rootParts(d.rec.Size) {
		if err := b.drop(rootKind, rootName(disk, part)); err != nil {
			return err
		}
	}
	return nil
}
