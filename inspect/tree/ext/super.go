// Package ext reads ext2, ext3 and ext4, with the journal of a file system that was in use applied
// in memory.
package ext

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

// Driver reads ext2, ext3 and ext4. The zero value is ready.
type Driver struct{}

var _ tree.Driver = Driver{}

// Name returns "ext".
func (Driver) Name() string { return "ext" }

const (
	superOff  = 1024
	superSize = 1024
	magic     = 0xef53
	rootInode = 2

	compatJournal     = 0x4
	compatSparse2     = 0x200
	incompatFiletype  = 0x2
	incompatRecover   = 0x4
	incompatMetaBG    = 0x10
	incompatExtents   = 0x40
	incompat64Bit     = 0x80
	incompatKnown     = 0x2 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x20000
	roSparse          = 0x1
	roHugeFile        = 0x8
	ext3Incompat      = 0x2 | 0x4 | 0x10
	ext3ReadOnly      = 0x1 | 0x2 | 0x4
	stateErrors       = 2
	compatFastCommits = 0x400
)

// Probe looks at the magic.
func (Driver) Probe(ctx context.Context, src disk.Source) (bool, error) {
	if src.Size() < superOff+superSize {
		return false, nil
	}
	p := make([]byte, superSize)
	if err := src.ReadMeta(ctx, p, superOff); err != nil {
		return false, err
	}
	return le16(p, 56) == magic, nil
}

// super are the fields of the superblock that reading needs.
type super struct {
	compat, incompat, ro      uint32
	blockSize                 int64
	blocks, free, firstBlock  int64
	inodes                    uint32
	blocksPerGroup            int64
	inodesPerGroup, inodeSize int64
	descSize, firstMetaBG     int64
	state                     uint16
	journal                   tree.ID
	uuid, label               string
	backups                   [2]uint32
}

func parseSuper(p []byte) (super, error) {
	s := super{
		compat: le32(p, 92), incompat: le32(p, 96), ro: le32(p, 100), inodes: le32(p, 0), state: le16(p, 58),
		firstBlock: int64(le32(p, 20)), blocksPerGroup: int64(le32(p, 32)), inodesPerGroup: int64(le32(p, 40)),
		blocks: int64(le32(p, 4)), free: int64(le32(p, 12)), inodeSize: 128, descSize: 32, journal: tree.ID(le32(p, 224)),
		firstMetaBG: int64(le32(p, 260)), backups: [2]uint32{le32(p, 0x24c), le32(p, 0x250)},
	}
	place := "superblock"
	if le16(p, 56) != magic {
		return s, disk.Corrupt("ext", place, "its magic is %#x", le16(p, 56))
	}
	if le32(p, 24) > 6 {
		return s, disk.Corrupt("ext", place, "blocks of 2^%d KiB, at most 2^6", le32(p, 24))
	}
	s.blockSize = 1024 << le32(p, 24)
	if unknown := s.incompat &^ incompatKnown; unknown != 0 {
		return s, disk.Unsupported("ext", "incompatible features %#x", unknown)
	}
	if le32(p, 76) > 0 {
		s.inodeSize = int64(le16(p, 88))
	}
	if s.incompat&incompat64Bit != 0 {
		s.descSize = int64(le16(p, 254))
		s.blocks |= int64(le32(p, 336)&0xffff) << 32
		s.free |= int64(le32(p, 344)&0xffff) << 32
	}
	switch {
	case s.inodeSize < 128 || s.inodeSize > s.blockSize || s.inodeSize&(s.inodeSize-1) != 0:
		return s, disk.Corrupt("ext", place, "inodes of %d bytes", s.inodeSize)
	case s.descSize < 32 || s.descSize > s.blockSize || s.descSize&(s.descSize-1) != 0:
		return s, disk.Corrupt("ext", place, "group descriptors of %d bytes", s.descSize)
	case s.blocksPerGroup == 0 || s.inodesPerGroup == 0 || s.blocksPerGroup > 8*s.blockSize*16:
		return s, disk.Corrupt("ext", place, "%d blocks and %d inodes in a group", s.blocksPerGroup, s.inodesPerGroup)
	case s.firstBlock > 1 || s.blocks <= s.firstBlock:
		return s, disk.Corrupt("ext", place, "%d blocks, the first is %d", s.blocks, s.firstBlock)
	}
	s.uuid = fmt.Sprintf("%x-%x-%x-%x-%x", p[104:108], p[108:110], p[110:112], p[112:114], p[114:120])
	s.label, _, _ = strings.Cut(string(p[120:136]), "\x00")
	return s, nil
}

func (s super) kind() string {
	switch {
	case s.incompat&^ext3Incompat != 0 || s.ro&^ext3ReadOnly != 0:
		return "ext4"
	case s.compat&compatJournal != 0:
		return "ext3"
	}
	return "ext2"
}

// Open reads the superblock and applies the journal if the file system was in use.
func (Driver) Open(ctx context.Context, src disk.Source, opts tree.Options) (tree.Tree, error) {
	f := &fileSystem{src: src}
	if err := f.readSuper(ctx); err != nil {
		return nil, err
	}
	f.info = tree.Info{State: tree.Clean}
	if f.incompat&incompatRecover != 0 {
		f.recover(ctx, opts)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if f.budget != nil {
			return nil, f.budget
		}
		if err := f.readSuper(ctx); err != nil {
			return nil, err
		}
	}
	if f.state&stateErrors != 0 {
		f.info.State = tree.Damaged
		f.info.Notes = append(f.info.Notes, "the superblock records errors")
	}
	if f.blocks > src.Size()/f.blockSize {
		f.info.Notes = append(f.info.Notes, fmt.Sprintf("it has %d blocks, the slice has room for %d", f.blocks, src.Size()/f.blockSize))
	}
	f.info.Type, f.info.Label, f.info.UUID = f.kind(), f.label, f.uuid
	f.info.Size, f.info.Used, f.info.BlockSize = f.blocks*f.blockSize, max(0, f.blocks-f.free)*f.blockSize, f.blockSize
	f.info.Features = f.features()
	return f, nil
}

func (f *fileSystem) readSuper(ctx context.Context) error {
	p := make([]byte, superSize)
	err := f.read(ctx, p, superOff, true)
	if err == nil {
		f.super, err = parseSuper(p)
	}
	return err
}

func (s super) features() []string {
	var list []string
	for _, set := range []struct {
		bits  uint32
		names map[int]string
	}{
		{s.compat, map[int]string{2: "has_journal", 3: "ext_attr", 4: "resize_inode", 5: "dir_index", 9: "sparse_super2", 10: "fast_commit"}},
		{s.incompat, map[int]string{1: "filetype", 2: "needs_recovery", 4: "meta_bg", 6: "extent", 7: "64bit", 8: "mmp", 9: "flex_bg",
			10: "ea_inode", 13: "metadata_csum_seed", 14: "large_dir", 15: "inline_data", 17: "casefold"}},
		{s.ro, map[int]string{0: "sparse_super", 1: "large_file", 3: "huge_file", 4: "uninit_bg", 5: "dir_nlink", 6: "extra_isize", 8: "quota",
			9: "bigalloc", 10: "metadata_csum", 13: "project", 15: "verity", 16: "orphan_file"}},
	} {
		for bit := range 32 {
			if name := set.names[bit]; set.bits&(1<<bit) != 0 && name != "" {
				list = append(list, name)
			}
		}
	}
	return list
}

func le16(p []byte, off int) uint16 { return binary.LittleEndian.Uint16(p[off:]) }
func le32(p []byte, off int) uint32 { return binary.LittleEndian.Uint32(p[off:]) }
