package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	iofs "io/fs"
	"sync"

	"golang.org/x/sys/unix"
)

// lot is the count of numbers that one synced transaction leases.
const lot = 100

// Sequence returns numbers that are unique for the life of the store. It leases them from the
// database in lots, so a kill leaves a gap. It is safe for concurrent use.
type Sequence struct {
	db  *DB
	key []byte

	mu           sync.Mutex
	next, leased uint64 // the database holds leased
}

// Sequence returns the sequence kept under key. It must be called once for each key while the store
// is open.
func (db *DB) Sequence(key []byte) (*Sequence, error) {
	s := &Sequence{db: db, key: append([]byte(nil), key...)}
	if err := s.lease(); err != nil {
		return nil, fmt.Errorf("sequence %q: %w", key, err)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.sequences = append(db.sequences, s)
	return s, nil
}

// Next returns the next number. It is greater than all before it; the first is 1.
func (s *Sequence) Next() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next >= s.leased {
		if err := s.lease(); err != nil {
			return 0, fmt.Errorf("sequence %q: %w", s.key, err)
		}
	}
	s.next++
	return s.next, nil
}

// lease takes the next lot from the database. The caller holds mu, unless s is new.
func (s *Sequence) lease() error {
	var next uint64
	err := s.db.Update(func(tx *WriteTx) (err error) {
		if next, err = s.stored(&tx.Tx); err != nil {
			return err
		}
		return tx.Set(s.key, binary.BigEndian.AppendUint64(nil, next+lot))
	})
	if err == nil {
		s.next, s.leased = next, next+lot
	}
	return err
}

// stored returns the last number that the database has leased.
func (s *Sequence) stored(tx *Tx) (uint64, error) {
	v, err := tx.Get(s.key)
	switch {
	case errors.Is(err, iofs.ErrNotExist):
		return 0, nil
	case err == nil && len(v) != 8:
		err = fmt.Errorf("it is kept in %d bytes", len(v))
	}
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(v), nil
}

// release returns the unused numbers of the lot. On a full file system they become a gap.
func (s *Sequence) release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.db.Update(func(tx *WriteTx) error {
		have, err := s.stored(&tx.Tx)
		if err != nil || have != s.leased {
			return err
		}
		return tx.Set(s.key, binary.BigEndian.AppendUint64(nil, s.next))
	})
	if errors.Is(err, unix.ENOSPC) {
		return nil
	}
	return err
}
