// Package blockstore is the contract of the block store. It defines blocks, block maps and digests,
// and the roles of a store.
//
// A block is BlockSize plain bytes. Its ID is their SHA-256, and the store keeps a block once,
// whichever disks have it. A disk is a row of blocks under a number. The caller chooses the number
// and never reuses it. The block map of a disk has an entry for each block: absent (not loaded
// yet), zero (never stored), or an ID (whose bytes may be lost). Maps are kept in segments of
// SegmentBlocks entries, and disks share complete segments of equal content. The Digest is one hash
// over a complete map. Equal bytes have equal digests, in whichever image format they came.
//
// There are two stores: blockstore/packs on disk, and blockstore/mem for tests.
// blockstore/storetest is the test suite of both. This package only computes, and uses no file and
// no database.
package blockstore

import (
	"context"
)

// These sizes are constant. A store on disk records them.
const (
	BlockSize = 64 << 10 // plain bytes of a block: the unit of names, maps and sharing

	SegmentBlocks = 256                       // entries of a full segment
	SegmentSize   = SegmentBlocks * BlockSize // 16 MiB of disk
)

// MaxDiskSize is the size limit of a disk, 16 TiB: a million segments.
const MaxDiskSize = 16 << 40

// Blocks returns the number of blocks of a disk of size bytes. The last may extend past the disk's
// end.
func Blocks(size int64) int64 { return (size + BlockSize - 1) / BlockSize }

// Segments returns the number of segments of a disk of size bytes.
func Segments(size int64) int64 { return (size + SegmentSize - 1) / SegmentSize }

// SegmentLen returns the number of entries in segment seg of a disk.
func SegmentLen(size, seg int64) int { return int(min(SegmentBlocks, Blocks(size)-seg*SegmentBlocks)) }

// Store has all roles. Users should ask for only the roles they need. All methods are safe for
// concurrent use.
type Store interface {
	Reader
	Mapper
	Saver
	Keeper
	Carer
	Close() error
}

// Reader reads blocks.
type Reader interface {
	// Read fills p with the block's bytes from off on, or returns an error. off+len(p) must be
	// at most BlockSize. Read checks the CRC of the bytes it uses.
	//
	// ErrNotFound means that the store does not have the block. It may have been swept or
	// quarantined since the caller looked it up. Look it up again, or load it from the source.
	// ErrDamaged means that the stored bytes are not the saved ones. Quarantine the block, then
	// load it again.
	Read(ctx context.Context, id ID, p []byte, off int) error
	// Quarantine takes a damaged block out of use. Maps report it lost until the same bytes are
	// saved again.
	Quarantine(ctx context.Context, id ID) error
}

// Mapper reads the maps of disks. It returns iofs.ErrNotExist for a disk that does not exist.
type Mapper interface {
	// Lookup returns the map entry of one block. It counts as a use of the block (see
	// Carer.Trim).
	Lookup(disk uint64, block int64) (Entry, error)
	// Status returns the number of blocks in each state.
	Status(disk uint64) (Status, error)
	// AnyLost reports whether a block of any disk may be lost. It is fast.
	AnyLost() bool
	// Digest returns the digest of a complete disk, or ErrIncomplete.
	Digest(disk uint64) (Digest, error)
}

// Status is how much of a disk is in the store.
type Status struct {
	Size   int64
	Loaded int64 // blocks that are neither absent nor lost
	Data   int64 // of those, the ones that are not zero
	Total  int64 // blocks
}

// Complete reports whether the disk can be read from the store alone.
func (s Status) Complete() bool { return s.Loaded == s.Total }

// Saver stores the bytes of disks.
type Saver interface {
	// Save stores the plain bytes at off and enters them in the disk's map. off must be a
	// multiple of BlockSize, and so must len(plain), unless it ends at the disk's end. When
	// Save returns nil, the bytes are durable. When it returns an error, some blocks may be
	// entered, and the map is unchanged for the others. Save does not keep or change plain.
	//
	// Concurrent calls share their syncs, so callers with much to save should run several at
	// once. ErrFull means that the limits leave no room for this disk's blocks. Any other error
	// is the file system's (ENOSPC, EIO).
	Save(ctx context.Context, disk uint64, off int64, plain []byte) error
	// Zero enters n bytes at off as zeros. They are aligned like those of Save.
	Zero(ctx context.Context, disk uint64, off, n int64) error
}

// Keeper makes and deletes disks.
type Keeper interface {
	// Create makes a disk of size bytes, all absent, or returns iofs.ErrExist. The note has at
	// most MaxNote bytes. It is kept with the maps of complete disks, so that packs.Rebuild can
	// return it after the database is lost.
	Create(disk uint64, size int64, note string) error
	// Clone makes a disk with its own size and note and a copy of from's map, or returns
	// iofs.ErrExist. Blocks past from's end are absent, and so is a block that the new end
	// cuts. For example, a clone of 100 KiB of a larger disk has only the first of its two
	// blocks.
	Clone(from, to uint64, size int64, note string) error
	// Disks returns the numbers of all disks, in order.
	Disks() ([]uint64, error)
	// Delete deletes a disk. A disk that does not exist is not an error.
	Delete(disk uint64) error
	// Evict makes all entries of a disk absent.
	Evict(disk uint64) error
	// SetEvictable sets whether Trim may make entries of the disk absent. It may not for a new
	// disk.
	SetEvictable(disk uint64, evictable bool) error
}

// MaxNote is the length limit of a disk's note.
const MaxNote = 4 << 10

// Carer maintains the store as a whole. Trim, Sweep, Compact and Verify run one at a time; another
// call waits. Readers and savers go on meanwhile. A context or a kill can end each of them at any
// point, and nothing is lost.
type Carer interface {
	// Trim brings the store under its limits. It makes the least recently used segments of
	// evictable disks absent and sweeps, until the store fits or nothing is left to evict.
	Trim(ctx context.Context) (Freed, error)
	// Sweep frees the blocks that no map names. It keeps those that are saved, or saved again,
	// while it runs.
	Sweep(ctx context.Context) (Freed, error)
	// Compact moves blocks out of files that are mostly holes, and removes those files.
	Compact(ctx context.Context) (Freed, error)
	// Verify reads every block and compares it with its ID. It quarantines each damaged block
	// and calls damaged once for it, in no particular order. It calls progress from time to
	// time, unless it is nil.
	Verify(ctx context.Context, progress func(done, total int64), damaged func(error)) error
	// Stats returns the store's figures.
	Stats() (Stats, error)
}

// Freed is the result of Trim, Sweep or Compact.
type Freed struct {
	Blocks int64 // blocks that are no longer in the store
	Bytes  int64 // of stored records; the file system may free fewer
}

// Stats are a store's figures. Sizes are bytes.
type Stats struct {
	Disks       int64
	Mapped      int64 // plain bytes of data that maps refer to: blocks named twice count twice
	Blocks      int64 // blocks kept, garbage that is not swept yet among them
	Stored      int64 // their records
	Used        int64 // bytes that the pack files take on disk
	Quarantined int64 // blocks
	Limit       int64 // of Used; 0 is none
}
