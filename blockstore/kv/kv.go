// Package kv is the database of a store directory. It keeps small records under ordered keys. A
// transaction is on disk when Update returns. No other package knows the engine, Badger.
//
// One directory is one store:
//
//	imsfs-store   the marker: one line with the directory's purpose and layout
//	lock          locked by the process that has the store open; holds its pid
//	seal          written at a clean close: name, size and checksum of every file in db/
//	synced        the number of the last acknowledged transaction: see witness.go
//	reserve       space that is given up when the file system is full: see room.go
//	db/           Badger's files
//
// A kill never loses a transaction that returned, because Badger's write-ahead log is synced before
// Update returns. Badger drops unreadable records without an error. So this package looks for
// damage before Badger touches anything: see seal.go and log.go.
//
// Bulk bytes do not belong here. A value is at most MaxValue long, so that no value goes to
// Badger's value log. The space of that log is freed late or never.
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
)

// MaxValue is the length limit of a value.
const MaxValue = 256 << 10

// Options configure Open; the zero value is usable.
type Options struct {
	Log *slog.Logger // nil is silent
}

// DB is an open store. It is safe for concurrent use.
type DB struct {
	dir    string
	lock   *lock
	badger *badger.DB
	views  views

	changing sync.Mutex // held by the one Update that runs; guards the following
	number   uint64     // of the last transaction that was acknowledged
	witness  witness

	mu        sync.Mutex
	sequences []*Sequence // handed out, given back by Close
}

// Open opens the store in dir. An empty or missing directory becomes a store. Before it changes
// anything, Open returns an error if the directory has other files, another process has it open
// (ErrInUse), its layout is newer (errors.ErrUnsupported), or it is damaged (ErrDamaged).
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
	n, err := lastNumber(db)
	var w witness
	if err == nil {
		w, err = openWitness(dir)
	}
	if err != nil {
		err = errors.Join(err, db.Close())
		l.release()
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	w.note(n)
	makeReserve(dir)
	return &DB{dir: dir, lock: l, badger: db, views: views{badger: db}, number: n, witness: w}, nil
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

// Close waits for running transactions, seals the store and unlocks it. No new transaction may
// begin. If the store was deleted, Close returns an error and leaves Badger open, so its memory is
// not freed.
func (db *DB) Close() error {
	defer db.lock.release()
	if _, err := os.Stat(filepath.Join(db.dir, dbDir)); err != nil {
		return fmt.Errorf("store %s: close: %w", db.dir, err) // Badger would try for ever to write its last table
	}
	db.views.changed() // ends the view that is kept for the next reader
	var errs []error
	for _, s := range db.sequences {
		errs = append(errs, s.release())
	}
	_ = room(db.dir) // Badger writes its last tables: give up the reserve if that is needed
	errs = append(errs, db.badger.Close(), db.witness.close())
	err := errors.Join(errs...)
	if err == nil {
		err = seal(db.dir)
	}
	if err != nil {
		return fmt.Errorf("store %s: close: %w", db.dir, err)
	}
	return nil
}

// Tx is a view of the store at one moment. It is for one goroutine, and valid until the function
// that received it returns.
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

// Update runs fn and makes its changes. If fn or the disk returns an error, it makes none of them.
// When Update returns nil, they are on disk. Updates run one after the other, and fn must not call
// Update.
func (db *DB) Update(fn func(*WriteTx) error) error {
	if err := room(db.dir); err != nil {
		return fmt.Errorf("store %s: %w", db.dir, err)
	}
	db.changing.Lock()
	defer db.changing.Unlock()
	err := db.badger.Update(func(txn *badger.Txn) error {
		if err := fn(&WriteTx{Tx{txn}}); err != nil {
			return err
		}
		return setNumber(txn, db.number+1)
	})
	if err == nil {
		db.number++
		db.witness.note(db.number)
	}
	// A failed update may still have made its change.
	db.views.changed()
	return closed(err)
}

// Get returns the value of a key, or iofs.ErrNotExist.
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

// Prefix yields the entries whose keys begin with prefix, in the order of their keys. It stops
// after an error.
func (tx *Tx) Prefix(prefix []byte) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		opts := badger.DefaultIteratorOptions
		opts.Prefix = prefix
		opts.PrefetchSize = 16
		it := tx.txn.NewIterator(opts)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			if string(item.Key()) == numberKey {
				continue
			}
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

// Set sets the value of a key, at most MaxValue bytes. It keeps neither slice.
func (tx *WriteTx) Set(key, value []byte) error {
	if len(value) > MaxValue {
		return fmt.Errorf("key %q: a value of %d bytes: at most %d are kept: %w", key, len(value), MaxValue, iofs.ErrInvalid)
	}
	if err := tx.txn.Set(bytes.Clone(key), bytes.Clone(value)); err != nil {
		return fmt.Errorf("key %q: %w", key, err)
	}
	return nil
}

// Delete removes a key. A missing key is not an error.
func (tx *WriteTx) Delete(key []byte) error {
	if err := tx.txn.Delete(bytes.Clone(key)); err != nil {
		return fmt.Errorf("key %q: %w", key, err)
	}
	return nil
}

// closed turns Badger's errors for a closed database into iofs.ErrClosed.
func closed(err error) error {
	if errors.Is(err, badger.ErrDBClosed) || errors.Is(err, badger.ErrBlockedWrites) {
		return fmt.Errorf("the store: %w", iofs.ErrClosed)
	}
	return err
}

// Verify compares every block of the database's tables with its checksum. Records in the log were
// checked by Open and have been in memory since.
func (db *DB) Verify() error {
	if err := db.badger.VerifyChecksum(); err != nil {
		return fmt.Errorf("store %s: %w", db.dir, damaged("%v; %s", err, remedy))
	}
	return nil
}
