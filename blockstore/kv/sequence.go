package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	iofs "io/fs"
	"sync"

	"golang.org/x/sys/unix"
)

// lot is how many numbers one synced transaction leases.
const lot = 100

// Sequence gives numbers that are never given twice in the life of the store. They are leased from the database in
// lots, so that a process that is killed leaves a gap. It is safe for concurrent use.
type Sequence struct {
	db  *DB
	key []byte

	mu           sync.Mutex
	next, leased uint64 // the database holds leased
}

// Sequence returns the sequence kept under key. One is to be opened once while the store is open.
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

// Next returns a number greater than all before it; the first is 1.
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

// lease takes the next lot from the database. The caller holds mu, or nobody else knows s yet.
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

// stored returns the number up to which the database has leased.
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

// release gives the numbers of the lot back that were not taken. On a full file system they become a gap.
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
