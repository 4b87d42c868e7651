package ext

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

const (
	journalMagic = 0xc03b3998
	typeDesc     = 1
	typeCommit   = 2
	typeRevoke   = 5

	journal64Bit = 0x2
	journalCSum2 = 0x8
	journalCSum3 = 0x10
	journalFast  = 0x20
	journalKnown = 0x1 | journal64Bit | 0x4 | journalCSum2 | journalCSum3 | journalFast

	tagEscape, tagSameUUID, tagLast = 1, 2, 8
	replayedSize                    = 64 // bytes of memory for a block in the overlay
)

// replayed is the place of a block in the journal.
type replayed struct {
	at      int64 // block of the file system
	seq     uint32
	escaped bool // the journal has zeros in place of the journal's magic
}

// read reads from the device, with the blocks of the journal in place of older ones.
func (f *fileSystem) read(ctx context.Context, p []byte, off int64, meta bool) error {
	read := f.src.ReadAt
	if meta {
		read = f.src.ReadMeta
	}
	if len(f.overlay) == 0 {
		return rangeError(read(ctx, p, off), f, off, len(p))
	}
	for len(p) > 0 {
		within := off % f.blockSize
		q := p[:min(int64(len(p)), f.blockSize-within)]
		at, ok := f.overlay[off/f.blockSize]
		var err error
		if ok {
			err = f.readReplayed(ctx, q, at, within)
		} else {
			for q2 := len(q); q2 < len(p) && !f.inOverlay((off+int64(q2))/f.blockSize); {
				q2 = min(len(p), q2+int(f.blockSize))
				q = p[:q2]
			}
			err = read(ctx, q, off)
		}
		if err != nil {
			return rangeError(err, f, off, len(q))
		}
		p, off = p[len(q):], off+int64(len(q))
	}
	return nil
}

func (f *fileSystem) inOverlay(block int64) bool {
	_, ok := f.overlay[block]
	return ok
}

// rangeError makes damage of a place past the slice's end, which a block number led to.
func rangeError(err error, f *fileSystem, off int64, n int) error {
	if err != nil && !disk.Within(off, int64(n), f.src.Size()) {
		return disk.Corrupt("ext", "slice", "[%d, +%d) is past its end, %d", off, n, f.src.Size())
	}
	return err
}

func (f *fileSystem) readReplayed(ctx context.Context, q []byte, r replayed, within int64) error {
	if err := f.src.ReadMeta(ctx, q, r.at*f.blockSize+within); err != nil {
		return err
	}
	var m [4]byte
	binary.BigEndian.PutUint32(m[:], journalMagic)
	if r.escaped && within < 4 {
		copy(q, m[within:])
	}
	return nil
}

// recover applies the journal in memory. A journal that cannot be applied leaves the state Dirty,
// with a note.
func (f *fileSystem) recover(ctx context.Context, opts tree.Options) {
	f.info.State = tree.Dirty
	if opts.NoReplay {
		f.info.Notes = append(f.info.Notes, "the journal is not replayed, as was asked for")
		return
	}
	j, err := f.openJournal(ctx)
	if err == nil {
		err = j.scan(ctx, opts.ReplayMemory()/replayedSize)
	}
	if err != nil {
		if errors.Is(err, disk.ErrBudget) {
			f.budget = err
		}
		f.info.Notes = append(f.info.Notes, fmt.Sprintf("the journal is not replayed: %v", err))
		return
	}
	f.overlay, f.info.State = j.blocks, tree.Replayed
	f.info.Notes = append(f.info.Notes, fmt.Sprintf("journal replayed: %d blocks of %d transactions", len(j.blocks), j.transactions))
}

// journal is the log while it is scanned.
type journal struct {
	f               *fileSystem
	inode           *inode
	incompat        uint32
	first, end, at  int64 // blocks of the journal
	sequence        uint32
	seed            uint32 // of checksums
	blocks          map[int64]replayed
	revoked         map[int64]uint32
	transactions    int
	pendingBlocks   map[int64]replayed
	pendingRevoked  []int64
	scanned, length int64
}

func (f *fileSystem) openJournal(ctx context.Context) (*journal, error) {
	if f.compat&compatJournal == 0 || f.journal == 0 {
		return nil, disk.Unsupported("ext", "a journal on another device")
	}
	n, err := f.inode(ctx, f.journal)
	if err != nil {
		return nil, err
	}
	j := &journal{f: f, inode: n, blocks: map[int64]replayed{}, revoked: map[int64]uint32{}}
	p, _, err := j.block(ctx, 0)
	if err != nil {
		return nil, err
	}
	be := binary.BigEndian.Uint32
	kind := be(p[4:])
	if be(p) != journalMagic || kind != 3 && kind != 4 {
		return nil, disk.Corrupt("ext", "journal superblock", "magic %#x, type %d", be(p), kind)
	}
	if kind == 4 {
		j.incompat = be(p[40:])
	}
	j.first, j.end, j.at, j.sequence = int64(be(p[20:])), int64(be(p[16:])), int64(be(p[28:])), be(p[24:])
	if unknown := j.incompat &^ journalKnown; unknown != 0 {
		return nil, disk.Unsupported("ext", "incompatible journal features %#x", unknown)
	}
	if j.incompat&journalFast != 0 {
		fast := int64(be(p[0x54:]))
		if fast == 0 {
			fast = 256
		}
		if err := j.refuseFastCommits(ctx, j.end-fast); err != nil {
			return nil, err
		}
		j.end -= fast
	}
	if int64(be(p[12:])) != f.blockSize || j.first < 1 || j.end <= j.first || j.end > n.attr.Size/f.blockSize || j.at != 0 && (j.at < j.first || j.at >= j.end) {
		return nil, disk.Corrupt("ext", "journal superblock", "blocks of %d bytes, from %d to %d, the log begins at %d", be(p[12:]), j.first, j.end, j.at)
	}
	j.seed = crc(1<<32-1, p[48:64])
	j.length = j.end - j.first
	return j, nil
}

// refuseFastCommits looks for a fast commit, whose changes the other blocks do not have.
func (j *journal) refuseFastCommits(ctx context.Context, at int64) error {
	p, _, err := j.block(ctx, at)
	if err != nil {
		return err
	}
	if le16(p, 0) == 9 && le16(p, 2) == 16 { // the head tag
		return disk.Unsupported("ext", "fast commits in the journal")
	}
	return nil
}

// block reads a block of the journal, and returns its place in the file system.
func (j *journal) block(ctx context.Context, at int64) ([]byte, int64, error) {
	r, err := j.f.run(ctx, j.inode, at)
	if err != nil {
		return nil, 0, err
	}
	if r.zero {
		return nil, 0, disk.Corrupt("ext", "journal", "block %d is a hole", at)
	}
	p := make([]byte, j.f.blockSize)
	return p, r.at, j.f.src.ReadMeta(ctx, p, r.at*j.f.blockSize)
}

func (j *journal) next() int64 {
	at := j.at
	if j.at++; j.at == j.end {
		j.at = j.first
	}
	j.scanned++
	return at
}

// scan reads whole transactions until the log ends.
func (j *journal) scan(ctx context.Context, limit int64) error {
	if j.at == 0 {
		return nil
	}
	j.pendingBlocks = map[int64]replayed{}
	for j.scanned < j.length {
		p, _, err := j.block(ctx, j.next())
		if err != nil {
			return err
		}
		be := binary.BigEndian.Uint32
		if be(p) != journalMagic || be(p[8:]) != j.sequence {
			break
		}
		ok := true
		switch be(p[4:]) {
		case typeDesc:
			ok, err = j.descriptor(ctx, p)
		case typeRevoke:
			ok, err = j.revokes(p)
		case typeCommit:
			if ok = j.sound(p, 16); ok {
				j.commit()
			}
		default:
			ok = false
		}
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if int64(len(j.blocks)+len(j.pendingBlocks)+len(j.revoked)) > limit {
			return fmt.Errorf("more than %d blocks: %w", limit, tree.ErrLimit)
		}
	}
	for block, seq := range j.revoked {
		if r, ok := j.blocks[block]; ok && int32(seq-r.seq) >= 0 {
			delete(j.blocks, block)
		}
	}
	return nil
}

func (j *journal) commit() {
	for block, r := range j.pendingBlocks {
		j.blocks[block] = r
	}
	for _, block := range j.pendingRevoked {
		j.revoked[block] = j.sequence
	}
	clear(j.pendingBlocks)
	j.pendingRevoked = nil
	j.sequence++
	j.transactions++
}

// sound reports whether the checksum at an offset of a block is right, where blocks have one.
func (j *journal) sound(p []byte, at int) bool {
	if j.incompat&(journalCSum2|journalCSum3) == 0 {
		return true
	}
	want := binary.BigEndian.Uint32(p[at:])
	q := append([]byte(nil), p...)
	clear(q[at:][:4])
	return crc(j.seed, q) == want
}

// crc is CRC-32C without the inversions at its beginning and end, as jbd2 uses it.
func crc(seed uint32, p []byte) uint32 {
	return ^crc32.Update(^seed, crc32.MakeTable(crc32.Castagnoli), p)
}

// descriptor notes the blocks that follow a descriptor.
func (j *journal) descriptor(ctx context.Context, p []byte) (bool, error) {
	end := len(p)
	if j.incompat&(journalCSum2|journalCSum3) != 0 {
		if end -= 4; !j.sound(p, end) {
			return false, nil
		}
	}
	be := binary.BigEndian.Uint32
	for at := 12; at+j.tagSize() <= end; {
		block, flags, high := int64(be(p[at:])), uint32(binary.BigEndian.Uint16(p[at+6:])), at+8
		if j.incompat&journalCSum3 != 0 {
			flags = be(p[at+4:])
		}
		if j.incompat&journal64Bit != 0 {
			block |= int64(be(p[high:])) << 32
		}
		at += j.tagSize()
		if flags&tagSameUUID == 0 {
			at += 16
		}
		r, err := j.f.run(ctx, j.inode, j.next())
		if err != nil || r.zero || j.scanned >= j.length {
			return false, err
		}
		if block < 0 || block >= j.f.blocks {
			return false, disk.Corrupt("ext", "journal descriptor", "block %d of %d", block, j.f.blocks)
		}
		j.pendingBlocks[block] = replayed{r.at, j.sequence, flags&tagEscape != 0}
		if flags&tagLast != 0 {
			break
		}
	}
	return true, nil
}

// tagSize is the length of a tag, of which there are four.
func (j *journal) tagSize() int {
	if j.incompat&journalCSum3 != 0 {
		return 16
	}
	size := 12
	if j.incompat&journalCSum2 != 0 {
		size += 2
	}
	if j.incompat&journal64Bit == 0 {
		size -= 4
	}
	return size
}

// revokes notes blocks whose older copies in the journal must not be used.
func (j *journal) revokes(p []byte) (bool, error) {
	count, size, end := int64(binary.BigEndian.Uint32(p[12:])), 4, int64(len(p))
	if j.incompat&(journalCSum2|journalCSum3) != 0 {
		if end -= 4; !j.sound(p, int(end)) {
			return false, nil
		}
	}
	if count < 16 || count > end {
		return false, disk.Corrupt("ext", "journal revoke block", "%d bytes", count)
	}
	if j.incompat&journal64Bit != 0 {
		size = 8
	}
	for at := 16; at+size <= int(count); at += size {
		block := int64(binary.BigEndian.Uint32(p[at:]))
		if size == 8 {
			block = int64(binary.BigEndian.Uint64(p[at:]))
		}
		j.pendingRevoked = append(j.pendingRevoked, block)
	}
	return true, nil
}
