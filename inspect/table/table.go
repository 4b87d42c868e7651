// Package table reads partition tables: GPT with 512 and 4096-byte sectors and both copies, MBR
// with its chain of logical partitions, hybrids of the two, and BSD disklabels.
//
// Read never fails because of damage. It shows each partition that it can make sense of, and a note
// for each one that it cannot. Only a disk that cannot be read is an error.
package table

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/imsfs/imsfs/inspect/disk"
)

const (
	// MaxPartitions is the most partitions that a table has here. The others are counted in a note.
	MaxPartitions = 256

	sectorSize = 512
	headSize   = 24 << 10 // holds the MBR and a whole GPT of 128 entries, for both sector sizes
)

// Kind is the type of a partition table.
type Kind string

// The kinds of tables. A disk without one has the empty kind.
const (
	None Kind = ""
	GPT  Kind = "gpt"
	MBR  Kind = "mbr"
	BSD  Kind = "bsd"
)

// Table is the partition table of a disk.
type Table struct {
	Kind       Kind
	SectorSize int64
	UUID       string // GPT: the disk's GUID; MBR: its identifier as 8 hexadecimal digits
	Partitions []Partition
	// BootCode reports whether the first sector has boot code for a BIOS.
	BootCode bool
	// Hybrid reports whether a GPT is accompanied by an MBR with partitions of its own.
	Hybrid bool
	Notes  []string // sentences for people about damage and oddities
}

// Partition is a part of a disk.
type Partition struct {
	ID        string // "p1"; with a letter for a part of a BSD disklabel: "p1a", or "a" without an MBR
	Off, Size int64  // in bytes; always inside the disk
	Type      string // GPT: a GUID in lower case; MBR: "0x83"; BSD: "bsd-7"
	TypeName  string // for people, "" if the type is not known here
	Name      string // GPT only
	UUID      string // as blkid's PARTUUID; "" in a BSD disklabel
	Bootable  bool   // marked active (MBR) or legacy BIOS bootable (GPT)
}

func (t *Table) note(format string, args ...any) {
	if len(t.Notes) < 64 {
		t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
	}
}

// add appends a partition of count sectors at first if it lies inside the disk. A partition that is
// cut off by the disk's end is shortened with a note, because its beginning may well be readable.
func (t *Table) add(p Partition, first, count, size int64) {
	sectors := size / t.SectorSize
	switch {
	case count <= 0 || first < 0 || first >= sectors:
		t.note("%s: sectors [%d, +%d) are not on the disk (%d sectors); it is left out", p.ID, first, count, sectors)
		return
	case len(t.Partitions) == MaxPartitions:
		t.note("%s: a table has at most %d partitions here; it is left out", p.ID, MaxPartitions)
		return
	case count > sectors-first:
		t.note("%s: sectors [%d, +%d) go past the disk's end (%d sectors); it is cut off there", p.ID, first, count, sectors)
		count = sectors - first
	}
	p.Off, p.Size = first*t.SectorSize, count*t.SectorSize
	t.Partitions = append(t.Partitions, p)
}

// Read finds the partition table of a disk. It makes at most 3 requests, and one for each logical
// partition and each BSD disklabel.
func Read(ctx context.Context, src disk.Source) (Table, error) {
	head := make([]byte, min(headSize, src.Size()))
	if err := src.ReadMeta(ctx, head, 0); err != nil {
		return Table{}, err
	}
	if len(head) < sectorSize {
		return Table{}, nil
	}
	r := &reader{ctx: ctx, src: src, head: head, mbr: parseMBR(head)}
	return r.read()
}

// reader finds the table of one disk.
type reader struct {
	ctx  context.Context
	src  disk.Source
	head []byte // of the disk
	mbr  mbr
}

func (r *reader) read() (Table, error) {
	if r.mbr.valid && !r.mbr.protective() && r.mbr.used() > 0 {
		t := r.readMBR()
		err := r.logical(&t)
		if err == nil {
			err = r.labels(&t)
		}
		if r.primaryMagic() {
			t.note("the MBR is not protective and is used; there is a GPT, too, which is not")
		}
		return t, err
	}
	t, found, err := r.readGPT()
	if err != nil || found {
		return t, err
	}
	if r.mbr.valid && r.mbr.used() > 0 {
		notes := t.Notes
		t = r.readMBR()
		t.Notes = append(notes, t.Notes...)
		return t, r.logical(&t)
	}
	notes := t.Notes
	t = Table{SectorSize: sectorSize, Notes: notes}
	if label, ok := parseLabel(r.head); ok {
		t.Kind = BSD
		t.addLabel(label, "", 0, r.src.Size())
	}
	return t, nil
}

// readAt reads n bytes of metadata at off, or returns false if they are past the disk's end.
func (r *reader) readAt(off, n int64) ([]byte, bool, error) {
	if !disk.Within(off, n, r.src.Size()) {
		return nil, false, nil
	}
	p := make([]byte, n)
	if off+n <= int64(len(r.head)) {
		copy(p, r.head[off:])
		return p, true, nil
	}
	return p, true, r.src.ReadMeta(r.ctx, p, off)
}

func le16(p []byte, off int) int64 { return int64(binary.LittleEndian.Uint16(p[off:])) }
func le32(p []byte, off int) int64 { return int64(binary.LittleEndian.Uint32(p[off:])) }
