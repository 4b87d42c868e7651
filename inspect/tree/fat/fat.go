// Package fat reads FAT12, FAT16 and FAT32 with long names, the file systems of EFI system
// partitions.
//
// A FAT file system is a boot sector, one or two tables with an entry for each cluster, the root
// directory (in FAT32 an ordinary one), and the clusters. A file is the chain of clusters that
// begins in its directory entry; the table has the successor of each. Files have no inodes: the ID
// of a file is the place of its directory entry.
//
// Times are local times of an unknown zone, and are read as UTC. There are no owners; modes are
// made up.
package fat

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

const name = "fat"

// Driver reads FAT. The zero value is ready.
type Driver struct{}

var _ tree.Driver = Driver{}

// Name returns "fat".
func (Driver) Name() string { return name }

const bootSize = 512

// Probe looks at the parameters in the boot sector, because FAT has no magic that others lack.
func (Driver) Probe(ctx context.Context, src disk.Source) (bool, error) {
	if src.Size() < bootSize {
		return false, nil
	}
	b := make([]byte, bootSize)
	if err := src.ReadMeta(ctx, b, 0); err != nil {
		return false, err
	}
	return claimed(b), nil
}

// claimed reports whether a boot sector can be one of FAT. NTFS has no reserved sectors and exFAT
// no sector size in these places; a partition table has code or zeros.
func claimed(b []byte) bool {
	sector := binary.LittleEndian.Uint16(b[11:])
	reserved := binary.LittleEndian.Uint16(b[14:])
	fats, media := b[16], b[21]
	return (b[0] == 0xEB || b[0] == 0xE9) && sector >= 512 && sector <= 4096 && powerOf2(uint32(sector)) &&
		b[13] > 0 && powerOf2(uint32(b[13])) && reserved > 0 && fats >= 1 && fats <= 4 &&
		(media == 0xF0 || media >= 0xF8)
}

func powerOf2(n uint32) bool { return n&(n-1) == 0 }

// fatTree is a Tree. All fields but chains are set by Open.
type fatTree struct {
	src         disk.Source
	bits        int // of a table entry: 12, 16 or 32
	table       int64
	tableSize   int64
	root        directory
	data        int64 // offset of cluster 2
	clusterSize int64
	last        uint32 // the highest cluster there is
	info        tree.Info
	chains      chains
}

// Open reads the boot sector, the first entries of the table and the label in the root directory.
func (Driver) Open(ctx context.Context, src disk.Source, _ tree.Options) (tree.Tree, error) {
	b := make([]byte, bootSize)
	if src.Size() < bootSize {
		return nil, disk.Corrupt(name, "boot sector", "the disk has %d bytes: at least %d are needed", src.Size(), bootSize)
	}
	if err := src.ReadMeta(ctx, b, 0); err != nil {
		return nil, err
	}
	if !claimed(b) {
		return nil, disk.Corrupt(name, "boot sector", "the parameters are not those of FAT")
	}
	t := &fatTree{src: src}
	if err := t.layout(b); err != nil {
		return nil, err
	}
	if err := t.state(ctx, b); err != nil {
		return nil, err
	}
	return t, t.label(ctx, b)
}

// layout computes where everything is. All products are below 2^44.
func (t *fatTree) layout(b []byte) error {
	le := binary.LittleEndian
	sector := int64(le.Uint16(b[11:]))
	reserved, fats := int64(le.Uint16(b[14:])), int64(b[16])
	t.clusterSize = sector * int64(b[13])
	sectors := int64(le.Uint16(b[19:]))
	if sectors == 0 {
		sectors = int64(le.Uint32(b[32:]))
	}
	perTable, wide := int64(le.Uint16(b[22:])), false
	if perTable == 0 { // only FAT32 has a 32-bit length there
		perTable, wide = int64(le.Uint32(b[36:])), true
	}
	t.table, t.tableSize = reserved*sector, perTable*sector
	rootSize := (int64(le.Uint16(b[17:]))*32 + sector - 1) / sector * sector
	rootAt := t.table + fats*t.tableSize
	t.data = rootAt + rootSize
	clusters := (sectors*sector - t.data) / t.clusterSize
	if perTable == 0 || clusters < 1 {
		return disk.Corrupt(name, "boot sector", "%d sectors hold no cluster after tables of %d sectors", sectors, perTable)
	}
	t.info = tree.Info{Type: "vfat", Size: sectors * sector, Used: tree.Unknown, BlockSize: t.clusterSize, State: tree.Clean}
	switch {
	case wide:
		t.bits = 32
		t.root = directory{first: le.Uint32(b[44:]) & 0x0FFFFFFF}
		if flags := le.Uint16(b[40:]); flags&0x80 != 0 { // one table is in use
			if active := int64(flags & 15); active < fats {
				t.table += active * t.tableSize
			} else {
				return disk.Corrupt(name, "boot sector", "table %d is in use: there are %d", active, fats)
			}
		}
		if version := le.Uint16(b[42:]); version != 0 {
			return disk.Unsupported(name, "FAT32 version 0x%x", version)
		}
	case clusters < 4085:
		t.bits, t.root = 12, directory{off: rootAt, size: rootSize}
	default:
		t.bits, t.root = 16, directory{off: rootAt, size: rootSize}
	}
	t.info.Features = []string{fmt.Sprintf("FAT%d", t.bits)}
	return t.bound(clusters)
}

// bound limits the clusters to those that the table and the disk have.
func (t *fatTree) bound(clusters int64) error {
	if !disk.Within(t.table, t.tableSize, t.src.Size()) || t.data > t.src.Size() {
		return disk.Corrupt(name, "boot sector", "the clusters begin at %d: the disk has %d bytes", t.data, t.src.Size())
	}
	if n := t.tableSize*8/int64(t.bits) - 2; clusters > n {
		t.note("the table has entries for %d of %d clusters", n, clusters)
		clusters = n
	}
	if n := (t.src.Size() - t.data) / t.clusterSize; clusters > n {
		t.note("the disk ends after %d of %d clusters", n, clusters)
		clusters = n
	}
	if clusters < 1 || clusters > 0x0FFFFFF5 {
		return disk.Corrupt(name, "boot sector", "%d clusters: 1 to %d are possible", clusters, 0x0FFFFFF5)
	}
	t.last = uint32(clusters + 1)
	return nil
}

func (t *fatTree) note(format string, args ...any) {
	t.info.State = tree.Damaged
	t.info.Notes = append(t.info.Notes, fmt.Sprintf(format, args...))
}

// state reads the marks of an unclean end: a bit of the boot sector, and two of the table's entry
// 1.
func (t *fatTree) state(ctx context.Context, b []byte) error {
	mark := b[37]
	if t.bits == 32 {
		mark = b[65]
	}
	one, err := t.window().next(ctx, 1)
	if err != nil {
		return err
	}
	shift := map[int]uint{16: 14, 32: 26}[t.bits]
	dirty, errors := mark&1 != 0, mark&2 != 0
	if shift > 0 {
		dirty, errors = dirty || one>>shift&2 == 0, errors || one>>shift&1 == 0
	}
	if dirty && t.info.State == tree.Clean {
		t.info.State = tree.Dirty
	}
	if errors {
		t.note("a disk error is recorded")
	}
	return t.free(ctx, b)
}

// free reads the count of free clusters, which only FAT32 has and which may be wrong.
func (t *fatTree) free(ctx context.Context, b []byte) error {
	at := int64(binary.LittleEndian.Uint16(b[48:])) * int64(binary.LittleEndian.Uint16(b[11:]))
	if t.bits != 32 || at == 0 || at+512 > t.table {
		return nil
	}
	info := make([]byte, 512)
	if err := t.src.ReadMeta(ctx, info, at); err != nil {
		return err
	}
	free := binary.LittleEndian.Uint32(info[488:])
	if string(info[:4]) == "RRaA" && string(info[484:488]) == "rrAa" && free < t.last {
		t.info.Used = int64(t.last-1-free) * t.clusterSize
	}
	return nil
}

// label takes the label of the root directory, else that of the boot sector, and the serial number.
func (t *fatTree) label(ctx context.Context, b []byte) error {
	extended := b[36:]
	if t.bits == 32 {
		extended = b[64:]
	}
	label := []byte("NO NAME    ")
	if extended[2] == 0x29 || extended[2] == 0x28 {
		serial := binary.LittleEndian.Uint32(extended[3:])
		t.info.UUID = fmt.Sprintf("%04X-%04X", serial>>16, serial&0xFFFF)
		if extended[2] == 0x29 {
			label = extended[7:18]
		}
	}
	seen := 0
	err := t.records(ctx, t.root, 0, func(r record) bool {
		if r.attr&(attrLabel|attrDir) == attrLabel {
			label = bytes.Clone(r.raw[:11])
			return false
		}
		seen++
		return seen < 512 // the label is one of the first entries
	})
	if err != nil && ctx.Err() == nil { // a damaged root directory is an error of its reader
		err = nil
	}
	if text := bytes.TrimRight(label, " \x00"); string(text) != "NO NAME" {
		t.info.Label = string(decodeOEM(text))
	}
	return err
}

func (t *fatTree) Info() tree.Info { return t.info }
