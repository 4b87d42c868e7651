// Package packs is the block store on disk: append-only pack files hold the bytes, the store directory's database
// (blockstore/kv) says where each block is and what every disk consists of. docs/blockstore.md has it byte by byte.
//
// One rule keeps it whole: bytes first. A batch is appended to a pack, the pack is synced, and only then is the batch
// entered in the database, index entries before the maps that name them. So no entry ever lacks its bytes, and what a
// kill leaves behind the last indexed record is found and indexed when the store is opened.
//
// One writer at a time changes the index and the maps; savers queue for it and share its syncs. Readers take no lock of
// it: a pack's bytes never change, they only go. A reader who looked a block up just before it was moved or freed finds
// zeros or no file, which no checksum fits, and looks again.
//
//	layout, record     what is in a pack, as bytes
//	files, tail, scan  the pack files; appending to the last one; reading one from front to back
//	keys, maps         what is in the database; the cache of map segments
//	save, batch        hashing and compressing; what one commit enters
//	commit, write      entering it, in the database and in memory
//	read, verify       checks, quarantine
//	disks              making disks and ending them
//	sweep, free        finding garbage; giving its space back
//	compact, trim      emptying thin packs; keeping to the limits
//	recover, rebuild   after a kill; after the loss of the database
package packs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/formats/codec"
)

// Options for Open; the zero value is usable.
type Options struct {
	Limit     int64 // bytes the packs may take on disk before Save of an evictable disk returns ErrFull; 0 is none
	FreeFloor int64 // bytes Save leaves free on the file system; 0 is DefaultFreeFloor
	PackSize  int64 // bytes after which a new pack is begun; 0 is DefaultPackSize
	MapCache  int64 // bytes of map segments kept in memory; 0 is DefaultMapCache

	wrap        func(file) file // tests put faults in here
	sweepBlocks int64           // blocks in a round of a sweep; 0 is sweepBlocks
}

// The defaults.
const (
	DefaultFreeFloor = 64 << 20 // the database stops at 16 MiB
	DefaultPackSize  = 1 << 30
	DefaultMapCache  = 8 << 20
)

// level is zstd's; docs/blockstore.md has what the others would give.
const level = 3

// database is what the store needs of *kv.DB.
type database interface {
	View(fn func(*kv.Tx) error) error
	Update(fn func(*kv.WriteTx) error) error
}

var (
	_ database         = (*kv.DB)(nil)
	_ blockstore.Store = (*Store)(nil)
)

// Store is an open block store. It is safe for concurrent use.
type Store struct {
	db    database
	opts  Options
	files *files
	dec   decoder
	enc   encoder
	cpus  chan struct{} // has a token for each processor that hashes or compresses a block
	bufs  sync.Pool     // *[]byte of maxRecord: records and slices

	maps       mapCache
	quarantine quarantine
	queue      queue

	care sync.Mutex // one of Trim, Sweep, Compact, Verify at a time

	writer  sync.Mutex // guards what follows, and every change of index and maps
	tail    tail
	counts  counts
	used    int64    // what the packs take on disk, about
	refused int64    // bytes of the largest request that did not fit since the last Trim
	touched *touched // what was saved since the sweep under way began; nil: there is none
}

// Open opens the store whose packs are in the directory packs of dir, and which db has the index and maps of. db stays
// the caller's, who closes it after the store.
func Open(dir string, db database, opts Options) (*Store, error) {
	opts.FreeFloor = defaulted(opts.FreeFloor, DefaultFreeFloor)
	opts.sweepBlocks = defaulted(opts.sweepBlocks, sweepBlocks)
	opts.PackSize = min(defaulted(opts.PackSize, DefaultPackSize), maxPackSize)
	opts.MapCache = defaulted(opts.MapCache, DefaultMapCache)
	s, err := newStore(filepath.Join(dir, "packs"), db, opts)
	if err == nil {
		err = s.open()
	}
	if err != nil {
		return nil, fmt.Errorf("block store %s: %w", dir, err)
	}
	return s, nil
}

// maxPackSize keeps offsets within an index value's 32 bits.
const maxPackSize = 32 << 30

func defaulted(v, usual int64) int64 {
	if v == 0 {
		return usual
	}
	return v
}

func newStore(dir string, db database, opts Options) (*Store, error) {
	enc, err := codec.NewBareZstdEncoder(level, maxSlice) // which has tables for each processor
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f := &files{dir: dir, wrap: opts.wrap, open: map[uint32]file{}}
	return &Store{
		db:    db,
		opts:  opts,
		files: f,
		dec:   codec.NewZstd(),
		enc:   enc,
		cpus:  make(chan struct{}, runtime.GOMAXPROCS(0)),
		bufs:  sync.Pool{New: func() any { b := make([]byte, 0, maxRecord); return &b }},
		maps:  newMapCache(opts.MapCache),
		tail:  tail{files: f, limit: opts.PackSize},
	}, nil
}

// open reads what was left, and ends what a kill left half done.
func (s *Store) open() error {
	err := s.db.View(func(tx *kv.Tx) error {
		v, err := find(tx, []byte(tailKey))
		if err == nil && v != nil {
			s.counts, err = s.tail.decode(v)
		}
		if err != nil {
			return err
		}
		if s.maps.clock, err = readClock(tx); err != nil {
			return err
		}
		return s.quarantine.load(tx)
	})
	if err != nil {
		return err
	}
	if err := s.recover(); err != nil {
		return errors.Join(err, s.files.close())
	}
	s.used, err = s.files.used()
	return err
}

// Close records what was used when, and gives the files back. No other method may be running or called again.
func (s *Store) Close() error {
	s.writer.Lock()
	defer s.writer.Unlock()
	return errors.Join(s.flushUses(), s.files.close())
}
