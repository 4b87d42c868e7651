// Package btrfs reads btrfs: subvolumes, compressed and inline extents, holes, extended attributes.
//
// Everything is an item with a key in a copy-on-write tree. Addresses in trees are logical; the
// chunk tree maps them to the disk, and its first chunks are in the superblock. The root tree has
// the root of each subvolume's tree. A file is its items in the tree of its subvolume. The ID of a
// file is the number of its subvolume, 24 bits, and of its inode, 40 bits.
//
// The tree is the one of the last commit. Trees are verified by their checksums, data is not.
package btrfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/crypto/blake2b"

	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

const name = "btrfs"

// Driver reads btrfs. It is made by New.
type Driver struct {
	zlib      *codec.Zlib
	zstd      *codec.Zstd
	unchecked bool // for tests, which damage bytes that checksums cover
}

// New returns a driver that decodes with z.
func New(z *codec.Zstd) *Driver { return &Driver{zlib: codec.NewZlib(), zstd: z} }

var _ tree.Driver = (*Driver)(nil)

// Name returns "btrfs".
func (*Driver) Name() string { return name }

const superSize = 4096

// superPlaces are the offsets of the superblock and its copies.
var superPlaces = [...]int64{64 << 10, 64 << 20, 256 << 30}

// Probe looks for the magic of the first superblock.
func (*Driver) Probe(ctx context.Context, src disk.Source) (bool, error) {
	if !disk.Within(superPlaces[0], superSize, src.Size()) {
		return false, nil
	}
	magic := make([]byte, 8)
	err := src.ReadMeta(ctx, magic, superPlaces[0]+64)
	return string(magic) == "_BHRfS_M", err
}

// Features of the superblock that the reader knows. An extent tree of version 2 and zones change
// the structures that it reads; a stripe tree may.
var features = []struct {
	bit  uint64
	name string
}{
	{1 << 0, "mixed-backref"}, {1 << 1, "default-subvol"}, {1 << 2, "mixed-groups"}, {1 << 3, "compress-lzo"},
	{1 << 4, "compress-zstd"}, {1 << 5, "big-metadata"}, {1 << 6, "extended-iref"}, {1 << 7, "raid56"},
	{1 << 8, "skinny-metadata"}, {1 << 9, "no-holes"}, {1 << 10, "metadata-uuid"}, {1 << 11, "raid1c34"},
	{1 << 16, "simple-quota"},
}

// super is a superblock.
type super struct {
	raw        []byte
	generation uint64
	nodeSize   int64
	sectorSize int64
	device     uint64
	metaID     [16]byte // that nodes of trees carry
	sumType    uint16
}

var le = binary.LittleEndian

// readSuper returns the valid superblock with the highest generation, the first of several. valid
// is how many there are, places how many the disk has room for.
func readSuper(ctx context.Context, src disk.Source) (best *super, valid, places int, err error) {
	var first error
	for _, off := range superPlaces {
		if !disk.Within(off, superSize, src.Size()) {
			break
		}
		places++
		raw := make([]byte, superSize)
		if err := src.ReadMeta(ctx, raw, off); err != nil {
			return nil, 0, 0, err
		}
		s, err := parseSuper(raw, off)
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		if valid++; best == nil || s.generation > best.generation {
			best = s
		}
	}
	if best == nil {
		if first == nil {
			first = disk.Corrupt(name, "superblock", "the disk has %d bytes", src.Size())
		}
		return nil, 0, 0, first
	}
	return best, valid, places, nil
}

func parseSuper(raw []byte, off int64) (*super, error) {
	place := fmt.Sprintf("superblock at %d", off)
	if string(raw[64:72]) != "_BHRfS_M" || le.Uint64(raw[48:]) != uint64(off) {
		return nil, disk.Corrupt(name, place, "the magic or the own address is wrong")
	}
	s := &super{raw: raw, generation: le.Uint64(raw[72:]), sectorSize: int64(le.Uint32(raw[144:])),
		nodeSize: int64(le.Uint32(raw[148:])), device: le.Uint64(raw[201:]), sumType: le.Uint16(raw[196:])}
	want := checksum(s.sumType, raw[32:])
	if want == nil {
		return nil, disk.Unsupported(name, "checksums of type %d", s.sumType)
	}
	if !bytes.HasPrefix(raw, want) {
		return nil, disk.Corrupt(name, place, "the checksum is wrong")
	}
	s.metaID = [16]byte(raw[32:])
	if le.Uint64(raw[188:])&(1<<10) != 0 {
		s.metaID = [16]byte(raw[571:])
	}
	return s, s.check(place)
}

func (s *super) check(place string) error {
	for _, size := range []int64{s.nodeSize, s.sectorSize} {
		if size < 4096 || size > 65536 || size&(size-1) != 0 {
			return disk.Corrupt(name, place, "a node or sector size of %d: powers of two from 4096 to 65536 are possible", size)
		}
	}
	unknown := le.Uint64(s.raw[188:])
	for _, f := range features {
		unknown &^= f.bit
	}
	if unknown != 0 {
		return disk.Unsupported(name, "incompatible features 0x%x", unknown)
	}
	return nil
}

// checksum returns the checksum of one of the four types, nil for another type.
func checksum(kind uint16, b []byte) []byte {
	switch kind {
	case 0:
		return le.AppendUint32(nil, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	case 1:
		return le.AppendUint64(nil, xxhash.Sum64(b))
	case 2:
		sum := sha256.Sum256(b)
		return sum[:]
	case 3:
		sum := blake2b.Sum256(b)
		return sum[:]
	}
	return nil
}

// Open reads the superblocks, the chunk tree and the number of the default subvolume.
func (d *Driver) Open(ctx context.Context, src disk.Source, _ tree.Options) (tree.Tree, error) {
	s, valid, places, err := readSuper(ctx, src)
	if err != nil {
		return nil, err
	}
	f := &fileSystem{src: src, super: s, driver: d, roots: map[uint64]root{}, nodes: map[int64]*node{}}
	f.info = s.info()
	if valid < places {
		f.note(tree.Damaged, "%d of %d superblocks are damaged", places-valid, places)
	}
	if n := le.Uint64(s.raw[136:]); n > 1 {
		f.info.Notes = append(f.info.Notes, fmt.Sprintf("the file system has %d devices; only what is on this one can be read", n))
	}
	if err := f.readChunks(ctx); err != nil {
		return nil, err
	}
	f.rootTree = root{int64(le.Uint64(s.raw[80:])), int(s.raw[198]), s.generation}
	f.top, err = f.defaultSubvolume(ctx)
	return f, err
}

func (s *super) info() tree.Info {
	label, _, _ := strings.Cut(string(s.raw[299:555]), "\x00")
	id := s.raw[32:48]
	info := tree.Info{Type: name, Label: label, UUID: uuid(id), Size: int64(le.Uint64(s.raw[112:]) &^ (1 << 63)),
		Used: int64(le.Uint64(s.raw[120:]) &^ (1 << 63)), BlockSize: s.sectorSize, State: tree.Clean}
	for _, f := range features {
		if le.Uint64(s.raw[188:])&f.bit != 0 {
			info.Features = append(info.Features, f.name)
		}
	}
	info.Features = append(info.Features, []string{"crc32c", "xxhash64", "sha256", "blake2"}[s.sumType])
	if le.Uint64(s.raw[96:]) != 0 {
		info.State = tree.Dirty
		info.Notes = append(info.Notes, "a log tree is there: files that were synced after the last commit are shown as of that commit")
	}
	return info
}

func (f *fileSystem) note(state tree.State, format string, args ...any) {
	f.info.State = state
	f.info.Notes = append(f.info.Notes, fmt.Sprintf(format, args...))
}

func uuid(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
