package qcow2

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/imsfs/imsfs/formats"
)

// A snapshot table entry begins with these bytes; extra data, ID and name follow, padded to a
// multiple of 8.
const (
	snapshotSize      = 40
	snapshotExtraSize = 16 // the known part of the extra data
	maxSnapshotExtra  = 1024
	// maxSnapshotTable keeps the memory for a table below formats.MaxTables.
	maxSnapshotTable = 16 << 20
)

// snapshot is an entry of the snapshot table.
type snapshot struct {
	off     int64 // of the entry
	l1Table uint64
	l1Size  uint32
	about   formats.Snapshot
}

// readSnapshots reads the snapshot table and returns its length, too. Where the snapshots' own
// tables are is not verified before one is used.
func readSnapshots(ctx context.Context, src formats.Source, h *header) (list []snapshot, size int64, err error) {
	if h.snapshots == 0 {
		return nil, 0, nil
	}
	if h.snapshotTable > uint64(src.Size()) {
		return nil, 0, corrupt(offSnapshotTable, "header: snapshots_offset is %d, must be within the file of %d bytes", h.snapshotTable, src.Size())
	}
	off := int64(h.snapshotTable)
	r := bufio.NewReader(&sourceReader{ctx, src, off})
	for range h.snapshots {
		s, n, err := readSnapshot(r, off+size, h)
		if err != nil {
			return list, size, err
		}
		size += n
		if size > maxSnapshotTable {
			return list, size, corrupt(off, "snapshot table: more than %d bytes in %d of %d entries, which is more than is read", maxSnapshotTable, len(list), h.snapshots)
		}
		list = append(list, s)
	}
	return list, size, nil
}

// readSnapshot reads the entry at an offset and returns its length, too.
func readSnapshot(r *bufio.Reader, at int64, h *header) (s snapshot, n int64, err error) {
	var b [snapshotSize]byte
	if err := readFull(r, b[:], at); err != nil {
		return s, 0, err
	}
	u16, u32, u64 := binary.BigEndian.Uint16, binary.BigEndian.Uint32, binary.BigEndian.Uint64
	s = snapshot{off: at, l1Table: u64(b[:]), l1Size: u32(b[8:])}
	s.about.Time = int64(u32(b[16:]))
	s.about.VMState = int64(u32(b[32:]))
	s.about.Size = h.diskSize() // version 2 may say nothing else
	idSize, nameSize, extraSize := int64(u16(b[12:])), int64(u16(b[14:])), int64(u32(b[36:]))
	if extraSize > maxSnapshotExtra {
		return s, 0, corrupt(at, "snapshot: its extra data takes %d bytes, must take at most %d", extraSize, maxSnapshotExtra)
	}
	if h.version >= 3 && extraSize < snapshotExtraSize {
		return s, 0, corrupt(at, "snapshot: its extra data takes %d bytes, must take at least %d in version 3", extraSize, snapshotExtraSize)
	}
	n = (snapshotSize + extraSize + idSize + nameSize + 7) &^ 7
	rest := make([]byte, n-snapshotSize)
	used := rest[:extraSize+idSize+nameSize]
	if err := readFull(r, used, at); err != nil {
		return s, 0, err
	}
	if _, err := r.Discard(len(rest) - len(used)); err != nil && err != io.EOF {
		return s, 0, err
	}
	if extraSize >= 8 {
		s.about.VMState = int64(u64(rest))
	}
	if extraSize >= snapshotExtraSize {
		s.about.Size = int64(u64(rest[8:])) &^ (formats.SectorSize - 1)
	}
	s.about.ID = string(used[extraSize : extraSize+idSize])
	s.about.Name = string(used[extraSize+idSize:])
	return s, n, nil
}

// readFull reads a part of the entry that stands at an offset.
func readFull(r io.Reader, p []byte, at int64) error {
	_, err := io.ReadFull(r, p)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return corrupt(at, "snapshot: the table must lie within the file")
	}
	return err
}

// find returns the snapshot of that ID, or, if there is none, of that name.
func find(list []snapshot, wanted string) (*snapshot, error) {
	for _, is := range []func(s *snapshot) bool{
		func(s *snapshot) bool { return s.about.ID == wanted },
		func(s *snapshot) bool { return s.about.Name == wanted },
	} {
		for i := range list {
			if is(&list[i]) {
				return &list[i], nil
			}
		}
	}
	return nil, fmt.Errorf("qcow2: snapshot %q: the image has no snapshot of that name or ID: it has %d", wanted, len(list))
}

// verify returns an error if the snapshot's disk cannot be read, in a file of so many bytes.
func (s *snapshot) verify(g *geometry, file int64) error {
	size := s.about.Size
	switch {
	case size < 0 || size > formats.MaxDiskSize:
		return corrupt(s.off, "snapshot %q: the disk's size is %d, must be at most %d", s.about.Name, size, int64(formats.MaxDiskSize))
	case int64(s.l1Size) < g.l1Entries(size):
		return corrupt(s.off, "snapshot %q: l1_size is %d, must be at least %d for the disk's size", s.about.Name, s.l1Size, g.l1Entries(size))
	}
	return s.verifyL1(g, file)
}

// verifyL1 returns an error if the snapshot's L1 table is not in a possible place.
func (s *snapshot) verifyL1(g *geometry, file int64) error {
	switch {
	case s.l1Size == 0:
		return nil
	case s.l1Table == 0 || s.l1Table%uint64(g.cluster()) != 0:
		return corrupt(s.off, "snapshot %q: l1_table_offset is %d, must be a multiple of the cluster size after the header", s.about.Name, s.l1Table)
	case !inside(s.l1Table, 8*uint64(s.l1Size), uint64(file)):
		return corrupt(s.off, "snapshot %q: its L1 table of %d entries at %#x must lie within the file of %d bytes", s.about.Name, s.l1Size, s.l1Table, file)
	}
	return nil
}

// sourceReader reads a source from an offset to its end.
type sourceReader struct {
	ctx context.Context
	src formats.Source
	off int64
}

func (r *sourceReader) Read(p []byte) (int, error) {
	n := min(int64(len(p)), r.src.Size()-r.off)
	if n <= 0 {
		return 0, io.EOF
	}
	if err := readAt(r.ctx, r.src, p[:n], r.off, "snapshot table"); err != nil {
		return 0, err
	}
	r.off += n
	return int(n), nil
}
