// Package squashfs reads squashfs 4.0 with gzip, lzo, xz, lz4 and zstd.
//
// Inodes, directories and tables are streams of metadata blocks, at most 8 KiB decoded each. A
// reference to an inode is the place of its metadata block in the inode table and an offset in it;
// that is a file's ID. Data are blocks of one size, whose lengths follow the inode, and fragments:
// blocks that have the ends of several files.
package squashfs

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

const name = "squashfs"

var le = binary.LittleEndian

// decoder decodes at most len(dst) bytes.
type decoder func(dst, src []byte) (int, error)

// Driver reads squashfs. It is made by New.
type Driver struct{ decoders [7]decoder }

// compressors are the names of the numbers in the superblock.
var compressors = [...]string{"", "gzip", "lzma", "lzo", "xz", "lz4", "zstd"}

// New returns a driver that decodes with z.
func New(z *codec.Zstd) *Driver {
	return &Driver{[7]decoder{1: codec.NewZlib().DecodeUpTo, 3: codec.LZO{}.DecodeUpTo, 4: codec.XZ{}.DecodeUpTo,
		5: codec.LZ4{}.DecodeUpTo, 6: z.DecodeUpTo}}
}

var _ tree.Driver = (*Driver)(nil)

// Name returns "squashfs".
func (*Driver) Name() string { return name }

const superSize = 96

// Probe looks for the magic.
func (*Driver) Probe(ctx context.Context, src disk.Source) (bool, error) {
	if src.Size() < superSize {
		return false, nil
	}
	magic := make([]byte, 4)
	err := src.ReadMeta(ctx, magic, 0)
	return string(magic) == "hsqs", err
}

const (
	metaSize = 8192 // of a decoded metadata block
	none     = 1<<32 - 1
)

// fileSystem is a Tree.
type fileSystem struct {
	src       disk.Source
	decode    decoder
	blockSize int64
	raw       []byte // the superblock
	info      tree.Info

	mu     sync.Mutex
	blocks map[int64]block  // decoded, by their places
	kept   int              // bytes of blocks
	marks  map[tree.ID]mark // where the last read of a file ended
}

// maxKept bounds the decoded blocks that are kept. Small files share fragments, and inodes metadata
// blocks.
const maxKept = 4 << 20

// block is a decoded block, and the place of the one after it.
type block struct {
	data []byte
	next int64
}

// Open reads the superblock.
func (d *Driver) Open(ctx context.Context, src disk.Source, _ tree.Options) (tree.Tree, error) {
	b := make([]byte, superSize)
	if src.Size() < superSize {
		return nil, disk.Corrupt(name, "superblock", "the disk has %d bytes", src.Size())
	}
	if err := src.ReadMeta(ctx, b, 0); err != nil {
		return nil, err
	}
	size, kind, log := int64(le.Uint32(b[12:])), le.Uint16(b[20:]), le.Uint16(b[22:])
	switch {
	case string(b[:4]) != "hsqs":
		return nil, disk.Corrupt(name, "superblock", "the magic is wrong")
	case le.Uint16(b[28:]) != 4 || le.Uint16(b[30:]) != 0:
		return nil, disk.Unsupported(name, "version %d.%d", le.Uint16(b[28:]), le.Uint16(b[30:]))
	case size < 4096 || size > 1<<20 || log > 20 || size != 1<<log:
		return nil, disk.Corrupt(name, "superblock", "blocks of %d bytes, 2^%d: 4 KiB to 1 MiB are possible", size, log)
	case int(kind) >= len(compressors) || kind == 0:
		return nil, disk.Unsupported(name, "compressor %d", kind)
	case d.decoders[kind] == nil:
		return nil, disk.Unsupported(name, "compressor %s", compressors[kind])
	}
	f := &fileSystem{src: src, decode: d.decoders[kind], blockSize: size, raw: b, blocks: map[int64]block{}, marks: map[tree.ID]mark{}}
	used := int64(le.Uint64(b[40:]))
	f.info = tree.Info{Type: name, Size: used, Used: used, BlockSize: size, State: tree.Clean, Features: []string{compressors[kind]}}
	if used < superSize || used > src.Size() {
		f.info.State = tree.Damaged
		f.info.Notes = []string{fmt.Sprintf("the file system has %d bytes, the disk %d", used, src.Size())}
	}
	return f, nil
}

func (f *fileSystem) Info() tree.Info { return f.info }
func (f *fileSystem) Root() tree.ID   { return tree.ID(le.Uint64(f.raw[32:])) }

// table returns the place of a table that the superblock has at off.
func (f *fileSystem) table(off int) int64 { return int64(le.Uint64(f.raw[off:])) }

// Places of tables in the superblock.
const (
	idTable        = 48
	xattrTable     = 56
	inodeTable     = 64
	directoryTable = 72
	fragmentTable  = 80
)

func (f *fileSystem) known(at int64) (block, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok := f.blocks[at]
	return b, ok
}

func (f *fileSystem) keep(at int64, b block) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.blocks[at]; ok {
		return
	}
	for old, o := range f.blocks { // any of them: it costs one decoding
		if f.kept+len(b.data) <= maxKept {
			break
		}
		f.kept -= len(o.data)
		delete(f.blocks, old)
	}
	f.blocks[at] = b
	f.kept += len(b.data)
}

// stored reads a block of size bytes at a place, of at most limit bytes decoded.
func (f *fileSystem) stored(ctx context.Context, at int64, size int, packed bool, limit int64, meta bool) ([]byte, error) {
	place := fmt.Sprintf("block at %d", at)
	if int64(size) > limit || !disk.Within(at, int64(size), f.src.Size()) {
		return nil, disk.Corrupt(name, place, "%d bytes: at most %d, before the end of the disk (%d)", size, limit, f.src.Size())
	}
	raw := make([]byte, size)
	read := f.src.ReadAt
	if meta {
		read = f.src.ReadMeta
	}
	if err := read(ctx, raw, at); err != nil || !packed {
		return raw, err
	}
	plain := make([]byte, limit)
	n, err := f.decode(plain, raw)
	if err != nil {
		return nil, disk.Corrupt(name, place, "%v", err)
	}
	return plain[:n:n], nil
}

// metaBlock returns the metadata block at a place.
func (f *fileSystem) metaBlock(ctx context.Context, at int64) (block, error) {
	if b, ok := f.known(at); ok {
		return b, ctx.Err()
	}
	head := make([]byte, 2)
	if !disk.Within(at, 2, f.src.Size()) {
		return block{}, disk.Corrupt(name, fmt.Sprintf("metadata block at %d", at), "the disk has %d bytes", f.src.Size())
	}
	if err := f.src.ReadMeta(ctx, head, at); err != nil {
		return block{}, err
	}
	size := int(le.Uint16(head))
	data, err := f.stored(ctx, at+2, size&0x7FFF, size&0x8000 == 0, metaSize, true)
	if err == nil && len(data) == 0 {
		err = disk.Corrupt(name, fmt.Sprintf("metadata block at %d", at), "it is empty")
	}
	if err != nil {
		return block{}, err
	}
	b := block{data, at + 2 + int64(size&0x7FFF)}
	f.keep(at, b)
	return b, nil
}

// cursor reads a stream of metadata blocks.
type cursor struct {
	f   *fileSystem
	at  int64 // of the block
	off int   // in the decoded block
}

// meta returns a cursor at an offset of a metadata block, both relative to a table.
func (f *fileSystem) meta(table int64, at uint64, off int) *cursor {
	if at > 1<<40 || table < 0 || table > 1<<60 {
		return &cursor{f, -1, 0} // the first read says that it is damaged
	}
	return &cursor{f, table + int64(at), off}
}

// next reads n bytes.
func (c *cursor) next(ctx context.Context, n int) ([]byte, error) {
	out := make([]byte, 0, n)
	return out, c.pass(ctx, int64(n), func(b []byte) { out = append(out, b...) })
}

// read fills p.
func (c *cursor) read(ctx context.Context, p []byte) error {
	return c.pass(ctx, int64(len(p)), func(b []byte) { p = p[copy(p, b):] })
}

// pass goes n bytes on, and calls fn for them in pieces.
func (c *cursor) pass(ctx context.Context, n int64, fn func([]byte)) error {
	for n > 0 {
		b, err := c.f.metaBlock(ctx, c.at)
		if err != nil {
			return err
		}
		if c.off > len(b.data) {
			return disk.Corrupt(name, fmt.Sprintf("metadata block at %d", c.at), "offset %d of %d bytes", c.off, len(b.data))
		}
		piece := b.data[c.off:]
		piece = piece[:min(n, int64(len(piece)))]
		fn(piece)
		n -= int64(len(piece))
		if c.off += len(piece); c.off == len(b.data) {
			c.at, c.off = b.next, 0
		}
	}
	return nil
}

// entry reads an entry of a table whose index, a list of places of metadata blocks, is at a place.
func (f *fileSystem) entry(ctx context.Context, index int64, number uint64, size int) ([]byte, error) {
	perBlock := uint64(metaSize / size)
	if at := int64(number / perBlock * 8); index >= 0 && index < 1<<60 && disk.Within(index+at, 8, f.src.Size()) {
		place := make([]byte, 8)
		if err := f.src.ReadMeta(ctx, place, index+at); err != nil {
			return nil, err
		}
		p := make([]byte, size)
		return p, f.meta(0, le.Uint64(place), int(number%perBlock)*size).read(ctx, p)
	}
	return nil, disk.Corrupt(name, "table", "entry %d of the table at %d is not on the disk", number, index)
}
