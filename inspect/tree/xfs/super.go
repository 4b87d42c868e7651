// Package xfs reads XFS, versions 4 and 5.
//
// The log is checked and not replayed: a file system that was in use is shown as its blocks are,
// and Info says so. Files on a realtime device and metadata directories are not read.
package xfs

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

// Driver knows XFS.
type Driver struct{}

var _ tree.Driver = Driver{}

// Name returns "xfs".
func (Driver) Name() string { return "xfs" }

// Probe looks for the magic of the superblock.
func (Driver) Probe(ctx context.Context, src disk.Source) (bool, error) {
	if src.Size() < 512 {
		return false, nil
	}
	var p [4]byte
	err := src.ReadMeta(ctx, p[:], 0)
	return err == nil && string(p[:]) == "XFSB", err
}

const (
	incompatFileType    = 0x1
	incompatNeedsRepair = 0x10
	incompatKnown       = 0xff // up to parent pointers

	versionDirV2   = 0x2000
	versionFold    = 0x4000
	versionMore    = 0x8000
	moreFileType   = 0x200
	inodeMagic     = 0x494e
	superBlockSize = 512
)

// super is the geometry in the superblock.
type super struct {
	blockSize, blocks, inodeSize int64
	agBlocks, agCount            int64
	agBits, inodeBits            uint
	dirBlockSize                 int64
	logStart, logBlocks          uint64
	root                         tree.ID
	v5, fileType, fold           bool
}

// fileSystem is an open file system.
type fileSystem struct {
	super
	src  disk.Source
	info tree.Info
}

func be16(p []byte, at int64) uint16 { return binary.BigEndian.Uint16(p[at:]) }
func be32(p []byte, at int64) uint32 { return binary.BigEndian.Uint32(p[at:]) }
func be64(p []byte, at int64) uint64 { return binary.BigEndian.Uint64(p[at:]) }

// Open reads the superblock and looks whether the log is clean.
func (Driver) Open(ctx context.Context, src disk.Source, _ tree.Options) (tree.Tree, error) {
	if src.Size() < superBlockSize {
		return nil, disk.Corrupt("xfs", "superblock", "the disk has %d bytes", src.Size())
	}
	p := make([]byte, superBlockSize)
	if err := src.ReadMeta(ctx, p, 0); err != nil {
		return nil, err
	}
	if string(p[:4]) != "XFSB" {
		return nil, disk.Corrupt("xfs", "superblock", "the magic is %q, not XFSB", p[:4])
	}
	f := &fileSystem{src: src}
	if err := f.geometry(p); err != nil {
		return nil, err
	}
	f.describe(p)
	if err := f.checkLog(ctx); err != nil {
		return nil, err
	}
	return f, nil
}

// geometry checks the superblock's numbers before anything is computed from them.
func (f *fileSystem) geometry(p []byte) error {
	bad := func(rule string, args ...any) error { return disk.Corrupt("xfs", "superblock", rule, args...) }
	version := be16(p, 100)
	switch {
	case version&0xf != 4 && version&0xf != 5:
		return disk.Unsupported("xfs", "version %d", version&0xf)
	case version&versionDirV2 == 0:
		return disk.Unsupported("xfs", "directories of version 1")
	}
	f.v5 = version&0xf == 5
	blockLog, inodeLog, dirLog := p[120], p[122], p[192]
	f.agBits, f.inodeBits = uint(p[124]), uint(p[123])
	f.blockSize, f.inodeSize = int64(be32(p, 4)), int64(be16(p, 104))
	f.agBlocks, f.agCount = int64(be32(p, 84)), int64(be32(p, 88))
	blocks := be64(p, 8)
	switch {
	case blockLog < 9 || blockLog > 16 || f.blockSize != 1<<blockLog:
		return bad("the block size is %d, its logarithm %d", f.blockSize, blockLog)
	case inodeLog < 8 || inodeLog > 11 || f.inodeSize != 1<<inodeLog || inodeLog > blockLog:
		return bad("the inode size is %d, its logarithm %d", f.inodeSize, inodeLog)
	case f.inodeBits != uint(blockLog-inodeLog):
		return bad("inopblog is %d", f.inodeBits)
	case dirLog > 7 || blockLog+dirLog > 16:
		return bad("dirblklog is %d", dirLog)
	case f.agBits > 31 || f.agBlocks == 0 || f.agBlocks > 1<<f.agBits:
		return bad("agblocks is %d, its logarithm %d", f.agBlocks, f.agBits)
	case blocks == 0 || blocks > uint64(f.src.Size()/f.blockSize):
		return bad("there are %d blocks of %d bytes, the disk has %d bytes", blocks, f.blockSize, f.src.Size())
	case f.agCount == 0 || f.agCount != (int64(blocks)+f.agBlocks-1)/f.agBlocks:
		return bad("agcount is %d, there are %d blocks in groups of %d", f.agCount, blocks, f.agBlocks)
	}
	f.blocks, f.dirBlockSize = int64(blocks), f.blockSize<<dirLog
	f.root = tree.ID(be64(p, 56))
	f.logStart, f.logBlocks = be64(p, 48), uint64(be32(p, 96))
	f.fold = version&versionFold != 0
	f.fileType = version&versionMore != 0 && be32(p, 200)&moreFileType != 0
	if f.v5 {
		incompat := be32(p, 216)
		if unknown := incompat &^ incompatKnown; unknown != 0 {
			return disk.Unsupported("xfs", "incompatible features 0x%x", unknown)
		}
		f.fileType = incompat&incompatFileType != 0
	}
	return nil
}

// featureNames are the incompatible features as xfs_db names them.
func featureNames(bits uint32) []string {
	var list []string
	for i, name := range []string{"FTYPE", "SPARSE_INODES", "META_UUID", "BIGTIME", "NEEDSREPAIR", "NREXT64", "EXCHANGE", "PARENT"} {
		if bits>>i&1 != 0 {
			list = append(list, name)
		}
	}
	return list
}

func (f *fileSystem) describe(p []byte) {
	u := p[32:48]
	f.info = tree.Info{
		Type: "xfs", Label: strings.TrimRight(string(p[108:120]), "\x00"),
		UUID:      fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:]),
		Size:      f.blocks * f.blockSize,
		Used:      tree.Unknown,
		BlockSize: f.blockSize, State: tree.Clean,
	}
	if free := be64(p, 144); free <= uint64(f.blocks) {
		f.info.Used = (f.blocks - int64(free)) * f.blockSize
	}
	if !f.v5 {
		f.info.Features = []string{"V4"}
		return
	}
	f.info.Features = append([]string{"V5"}, featureNames(be32(p, 216))...)
	if be32(p, 216)&incompatNeedsRepair != 0 {
		f.info.State = tree.Damaged
		f.info.Notes = append(f.info.Notes, "the file system needs xfs_repair")
	}
}

func (f *fileSystem) Info() tree.Info { return f.info }
func (f *fileSystem) Root() tree.ID   { return f.root }

// position returns the byte offset of count blocks at a number made of group and block.
func (f *fileSystem) position(number uint64, count int64) (int64, error) {
	group, block := number>>f.agBits, int64(number&(1<<f.agBits-1))
	if group >= uint64(f.agCount) || block >= f.agBlocks {
		return 0, disk.Corrupt("xfs", fmt.Sprintf("block 0x%x", number), "there are %d groups of %d blocks", f.agCount, f.agBlocks)
	}
	at := int64(group)*f.agBlocks + block
	if count < 0 || block > f.agBlocks-count || at > f.blocks-count {
		return 0, disk.Corrupt("xfs", fmt.Sprintf("block 0x%x", number), "%d blocks are past the end of the group", count)
	}
	return at * f.blockSize, nil
}
