// Package blockstore is the contract of the block store: what a block, a block map and a digest are, and which roles a
// store plays.
//
// The nouns: a Block is BlockSize plain bytes, named by its ID, the SHA-256 of them; it is kept once whatever disk it
// came from. A disk is a row of blocks under a number that the caller gives and never gives again. Its block map says
// for each of them what is known: absent (not loaded yet), zero (never stored), or an ID (whose bytes may be lost). Maps are kept in segments of
// SegmentBlocks entries, and disks share complete segments of equal content. The Digest is one hash over a
// complete map: the same for the same bytes, whatever format they came in.
//
// Two stores exist: blockstore/packs, on disk, and blockstore/mem, for tests; blockstore/storetest is what both must
// hold to. This package only computes: it knows no file and no database.
package blockstore

import (
	"context"
)

// The constants of a store; a store on disk records them.
const (
	BlockSize = 64 << 10 // plain bytes of a block: the unit of names, maps and sharing

	SegmentBlocks = 256                       // entries of a full segment
	SegmentSize   = SegmentBlocks * BlockSize // 16 MiB of disk
)

// MaxDiskSize is the largest disk a map is kept of, 16 TiB: a million segments.
const MaxDiskSize = 16 << 40

// Blocks is the number of blocks of a disk of size bytes; the last may be partly behind the disk's end.
func Blocks(size int64) int64 { return (size + BlockSize - 1) / BlockSize }

// Segments is the number of segments of a disk of size bytes.
func Segments(size int64) int64 { return (size + SegmentSize - 1) / SegmentSize }

// SegmentLen is the number of entries of a disk's segment seg.
func SegmentLen(size, seg int64) int { return int(min(SegmentBlocks, Blocks(size)-seg*SegmentBlocks)) }

// Store is everything a store does. Who uses one asks for the roles it needs. All methods are safe for concurrent use.
type Store interface {
	Reader
	Mapper
	Saver
	Keeper
	Carer
	Close() error
}

// Reader gives blocks.
type Reader interface {
	// Read fills p with the block's bytes from off on, all of them, or returns an error; off+len(p) is at most
	// BlockSize. What of the block it needs is checked (CRC) before it is used. ErrNotFound: the store has no such
	// block, or no longer: it may have been swept or quarantined since it was looked up, so look it up again or load
	// it from the source. ErrDamaged: what is stored is not what was saved; Quarantine it, then load it again.
	Read(ctx context.Context, id ID, p []byte, off int) error
	// Quarantine takes a damaged block out of use: maps report it lost until the same bytes are saved again.
	Quarantine(ctx context.Context, id ID) error
}

// Mapper tells what is known of disks. A disk that was not created, or was deleted, is iofs.ErrNotExist.
type Mapper interface {
	// Lookup returns the map entry of one block and counts as a use of it (see Keeper.Trim).
	Lookup(disk uint64, block int64) (Entry, error)
	// Status counts what is known.
	Status(disk uint64) (Status, error)
	// AnyLost tells at once whether a block may be lost, of any disk.
	AnyLost() bool
	// Digest is the digest of a complete disk; ErrIncomplete for any other.
	Digest(disk uint64) (Digest, error)
}

// Status is how much of a disk is in the store.
type Status struct {
	Size   int64
	Loaded int64 // blocks that are neither absent nor lost
	Data   int64 // of those, the ones that are not zero
	Total  int64 // blocks
}

// Complete tells whether the disk can be read from the store alone.
func (s Status) Complete() bool { return s.Loaded == s.Total }

// Saver puts a disk's bytes into the store.
type Saver interface {
	// Save stores the plain bytes at off and enters them in the disk's map. off is a multiple of BlockSize, and so
	// is len(plain) unless it ends at the disk's end. It is durable when it returns nil; when it returns an error
	// the map is as before for those blocks that were not recorded. Concurrent calls share their syncs, so callers
	// that have much to save run several at once. plain is not kept and not changed. ErrFull: there is no room for
	// this disk's blocks under the limits; any other error is the disk's (ENOSPC, EIO).
	Save(ctx context.Context, disk uint64, off int64, plain []byte) error
	// Zero enters n bytes at off, aligned like those of Save, as zeros.
	Zero(ctx context.Context, disk uint64, off, n int64) error
}

// Keeper makes disks and ends them.
type Keeper interface {
	// Create makes a disk of size bytes, all absent; iofs.ErrExist if it is there. The note is kept beside complete
	// disks' maps for who has lost the database (packs.Rebuild): at most MaxNote bytes.
	Create(disk uint64, size int64, note string) error
	// Clone makes a disk to, of another size and with another note, that has from's map as far as both go; iofs.ErrExist if it is
	// there. A block that the new end cuts is absent, and so is all that is behind from's end.
	Clone(from, to uint64, size int64, note string) error
	// Disks returns the numbers of all disks, in order.
	Disks() ([]uint64, error)
	// Delete forgets a disk; deleting one that is not there is no error.
	Delete(disk uint64) error
	// Evict makes all entries of a disk absent.
	Evict(disk uint64) error
	// SetEvictable says whether Trim may make entries of the disk absent; a new disk's are not.
	SetEvictable(disk uint64, evictable bool) error
}

// MaxNote is the length limit of a disk's note.
const MaxNote = 4 << 10

// Carer looks after the store as a whole. One of Trim, Sweep, Compact and Verify runs at a time, the others wait;
// readers and savers go on meanwhile. Each can be ended at any point, by ctx or by a kill, and loses nothing.
type Carer interface {
	// Trim brings the store under its limits: it makes the segments of evictable disks that were not used for the longest time
	// absent and sweeps, until the store fits or nothing is left to evict.
	Trim(ctx context.Context) (Freed, error)
	// Sweep frees what no map refers to. What is saved or saved again while it runs stays.
	Sweep(ctx context.Context) (Freed, error)
	// Compact moves the blocks out of files that are mostly holes, and removes those files.
	Compact(ctx context.Context) (Freed, error)
	// Verify reads every block and compares it with its ID; what is damaged is quarantined and reported, one call a
	// block, in no order. progress, unless nil, is told now and then how many of how many blocks are done.
	Verify(ctx context.Context, progress func(done, total int64), damaged func(error)) error
	// Stats counts.
	Stats() (Stats, error)
}

// Freed is what Trim, Sweep or Compact gave back.
type Freed struct {
	Blocks int64 // blocks that are no longer in the store
	Bytes  int64 // of stored records, before rounding to what the file system frees
}

// Stats are a store's figures. Sizes are bytes.
type Stats struct {
	Disks       int64
	Mapped      int64 // plain bytes of data that maps refer to: blocks named twice count twice
	Blocks      int64 // blocks kept, garbage that is not swept yet among them
	Stored      int64 // their records
	Used        int64 // what the files of the records take on disk
	Quarantined int64 // blocks
	Limit       int64 // of Used; 0 is none
}
