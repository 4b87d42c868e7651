// Package packs is the block store on disk. Append-only pack files hold the bytes. The store
// directory's database (blockstore/kv) holds the index of the blocks and the map of every disk.
// docs/blockstore.md describes the layout byte by byte.
//
// The store writes bytes first. It appends a batch to a pack and syncs the pack. Only then does it
// enter the batch in the database, index entries before the maps that name them. So no entry lacks
// its bytes. Records that a kill leaves after the last indexed one are found and indexed when the
// store is opened.
//
// One writer at a time changes the index and the maps. Savers queue for it and share its syncs.
// Readers need no lock of the writer, because a pack's bytes never change; they can only be freed.
// A block may be moved or freed after a reader looked it up. The reader then finds zeros or no
// file, the checksum fails, and the reader looks the block up again.
//
//	layout, record     the bytes in a pack
//	files, tail, scan  the pack files; appending to the last one; reading one from start to end
//	keys, maps         the database's records; the cache of map segments
//	save, batch        hashing and compressing; the changes of one commit
//	commit, write      entering them, in the database and in memory
//	read, verify       checks, quarantine
//	disks              making and deleting disks
//	sweep, free        finding garbage; freeing its space
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

// Options configure Open; the zero value is usable.
type Options struct {
	Limit     int64 // bytes the packs may take on disk before Save of an evictable disk returns ErrFull; 0 is none
	FreeFloor int64 // bytes Save leaves free on the file system; 0 is DefaultFreeFloor
	PackSize  int64 // bytes after which a new pack is begun; 0 is DefaultPackSize
	MapCache  int64 // bytes of map segments kept in memory; 0 is DefaultMapCache

	wrap        func(file) file // tests put faults in here
	sweepBlocks int64           // blocks in a round of a sweep; 0 is sweepBlocks
}

// These are the defaults of Options.
const (
	DefaultFreeFloor = 64 << 20 // the database stops at 16 MiB
	DefaultPackSize  = 1 << 30
	DefaultMapCache  = 8 << 20
)

// level is the zstd level; docs/blockstore.md compares it with the others.
const level = 3

// database is the part of *kv.DB that the store uses.
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

	writer  sync.Mutex // guards the following, and every change of index and maps
	tail    tail
	counts  counts
	used    int64    // approximate bytes that the packs take on disk
	refused int64    // bytes of the largest request that did not fit since the last Trim
	touched *touched // records saved since the running sweep began; nil: none runs
}

// Open opens the store whose packs are in dir/packs and whose index and maps are in db. The caller
// closes db after the store.
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

// maxPackSize keeps offsets within the 32 bits of an index value.
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

// open reads the store's state and finishes the work that a kill interrupted.
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

// Close records the uses of segments and closes the files. No other method may be running or called
// again.
func (s *Store) Close() error {
	s.writer.Lock()
	defer s.writer.Unlock()
	return errors.Join(s.flushUses(), s.files.close())
}
