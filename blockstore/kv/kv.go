// Package kv is the store directory's one database: small records under ordered keys, in transactions that are on
// disk when they return. It is the only package that knows the engine, Badger.
//
// One directory is one store:
//
//	imsfs-store   the marker: one line that says what the directory is and in which layout
//	lock          locked by the process that has the store open; holds its pid
//	seal          written at a clean close: name, size and checksum of every file in db/
//	db/           Badger's files
//
// A process that is killed at any point loses no transaction that returned: Badger's write-ahead log is synced before
// Update returns. Damage is looked for before Badger touches anything, because Badger itself drops what it cannot
// read without an error: see seal.go.
//
// What does not belong here are bulk bytes: a value is at most MaxValue long, and so none ever goes into
// Badger's value log, whose space comes back late or never; there is nothing for its garbage collector to do.
package kv

import (
	"bytes"
	"errors"
	"fmt"
	iofs "io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// MaxValue is the most bytes one value may have.
const MaxValue = 256 << 10

// reserve is the free space without which nothing is written. Badger writes its log through a memory mapping, and
// a mapped write on a full disk kills the process instead of returning an error.
const reserve = 16 << 20

// Options for Open; the zero value is usable.
type Options struct {
	Log *slog.Logger // nil is silent
}

// DB is an open store. It is safe for concurrent use.
type DB struct {
	dir    string
	lock   *lock
	badger *badger.DB
	views  views

	mu        sync.Mutex
	sequences []*badger.Sequence // handed out, given back by Close
}

// Open opens the store in dir, and makes an empty or missing directory one. Anything else in the directory, another
// process (ErrInUse), a layout this version does not know (errors.ErrUnsupported) or damage (ErrDamaged) is an
// error, before anything is changed.
func Open(dir string, opts Options) (*DB, error) {
	log := opts.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l, err := claim(dir)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	db, err := open(dir, log)
	if err != nil {
		l.release()
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	return &DB{dir: dir, lock: l, badger: db, views: views{badger: db}}, nil
}

func open(dir string, log *slog.Logger) (*badger.DB, error) {
	if err := room(dir); err != nil {
		return nil, err
	}
	if err := create(dir); err != nil {
		return nil, err
	}
	if err := check(dir); err != nil {
		return nil, err
	}
	if err := unseal(dir); err != nil {
		return nil, err
	}
	db := filepath.Join(dir, dbDir)
	if err := dropStillborn(db); err != nil {
		return nil, err
	}
	return openBadger(db, log)
}

// Close waits for running transactions to end, seals the store and gives it free. No transaction may be begun. When somebody has
// deleted the store it is an error, and what Badger has in memory stays there.
func (db *DB) Close() error {
	defer db.lock.release()
	if _, err := os.Stat(filepath.Join(db.dir, dbDir)); err != nil {
		return fmt.Errorf("store %s: close: %w", db.dir, err) // Badger would try for ever to write its last table
	}
	db.views.changed() // ends the view that is kept for the next reader
	var errs []error
	for _, s := range db.sequences {
		errs = append(errs, s.Release())
	}
	errs = append(errs, db.badger.Close())
	err := errors.Join(errs...)
	if err == nil {
		err = seal(db.dir)
	}
	if err != nil {
		return fmt.Errorf("store %s: close: %w", db.dir, err)
	}
	return nil
}

// Tx sees the store at one moment. It is for one goroutine, and ends with the function it was given to.
type Tx struct{ txn *badger.Txn }

// WriteTx is a Tx that can change the store. It sees its own changes.
type WriteTx struct{ Tx }

// Entry is a key and its value; the bytes are the caller's.
type Entry struct{ Key, Value []byte }

// View runs fn on the store as it is now.
func (db *DB) View(fn func(*Tx) error) error {
	v, err := db.views.begin()
	if err != nil {
		return closed(err)
	}
	defer db.views.end(v)
	return closed(fn(&Tx{v.txn}))
}

// Update runs fn and makes its changes, all of them or, if fn or the disk returns an error, none. They are on disk when
// it returns nil. fn runs again if another Update changed what it had read, so it must not add up effects of its own.
func (db *DB) Update(fn func(*WriteTx) error) error {
	if err := room(db.dir); err != nil {
		return fmt.Errorf("store %s: %w", db.dir, err)
	}
	for {
		err := db.badger.Update(func(txn *badger.Txn) error { return fn(&WriteTx{Tx{txn}}) })
		// Also after an error, as the change may have been made.
		db.views.changed()
		if !errors.Is(err, badger.ErrConflict) { // a conflict means that another one got on
			return closed(err)
		}
	}
}

// Get returns the value of a key; iofs.ErrNotExist if it has none.
func (tx *Tx) Get(key []byte) ([]byte, error) {
	item, err := tx.txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, &missingError{key}
	}
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", key, err)
	}
	v, err := item.ValueCopy(nil)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", key, err)
	}
	return v, nil
}

// Prefix yields the entries whose keys begin with prefix, in the order of their keys. An error ends it.
func (tx *Tx) Prefix(prefix []byte) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		opts := badger.DefaultIteratorOptions
		opts.Prefix = prefix
		opts.PrefetchSize = 16
		it := tx.txn.NewIterator(opts)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			v, err := item.ValueCopy(nil)
			if err != nil {
				yield(Entry{}, fmt.Errorf("key %q: %w", item.Key(), err))
				return
			}
			if !yield(Entry{item.KeyCopy(nil), v}, nil) {
				return
			}
		}
	}
}

// Set gives key a value of at most MaxValue bytes; it keeps neither slice.
func (tx *WriteTx) Set(key, value []byte) error {
	if len(value) > MaxValue {
		return fmt.Errorf("key %q: a value of %d bytes: at most %d are kept: %w", key, len(value), MaxValue, iofs.ErrInvalid)
	}
	if err := tx.txn.Set(bytes.Clone(key), bytes.Clone(value)); err != nil {
		return fmt.Errorf("key %q: %w", key, err)
	}
	return nil
}

// Delete removes a key, if it is there.
func (tx *WriteTx) Delete(key []byte) error {
	if err := tx.txn.Delete(bytes.Clone(key)); err != nil {
		return fmt.Errorf("key %q: %w", key, err)
	}
	return nil
}

// Sequence gives numbers that are never given twice in the life of the store. They are leased from the disk in
// lots, so that a process that is killed leaves a gap. It is safe for concurrent use.
type Sequence struct{ s *badger.Sequence }

// lot is how many numbers one synced transaction leases.
const lot = 100

// Sequence returns the sequence kept under key. One is to be opened once while the store is open.
func (db *DB) Sequence(key []byte) (*Sequence, error) {
	if err := room(db.dir); err != nil {
		return nil, fmt.Errorf("store %s: %w", db.dir, err)
	}
	s, err := db.badger.GetSequence(bytes.Clone(key), lot)
	if err != nil {
		return nil, fmt.Errorf("sequence %q: %w", key, closed(err))
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.sequences = append(db.sequences, s)
	return &Sequence{s}, nil
}

// Next returns a number greater than all before it; the first is 1.
func (s *Sequence) Next() (uint64, error) {
	n, err := s.s.Next()
	return n + 1, closed(err)
}

// closed gives a use after Close the name everyone knows.
func closed(err error) error {
	if errors.Is(err, badger.ErrDBClosed) || errors.Is(err, badger.ErrBlockedWrites) {
		return fmt.Errorf("the store: %w", iofs.ErrClosed)
	}
	return err
}

// room is an error if the file system with the store is too full to write to.
func room(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("free space: %w", err)
	}
	if free := int64(st.Bavail) * st.Bsize; free < reserve {
		return fmt.Errorf("its file system has %d MiB free, and %d are kept in reserve: %w", free>>20, reserve>>20, unix.ENOSPC)
	}
	return nil
}
