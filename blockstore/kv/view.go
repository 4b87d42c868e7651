package kv

import (
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// views lets readers share one of Badger's transactions until the next change. Beginning and ending
// a transaction takes longer than looking up a key. It also waits for changes that are being
// written, which readers do not need. Badger allows a transaction only one goroutine. But reading
// in a transaction that never writes changes only an atomic counter of iterators, so sharing it is
// safe.
type views struct {
	badger *badger.DB

	mu      sync.Mutex
	current *view
	changes int // since the store was opened
}

// view is a read transaction and its readers.
type view struct {
	txn *badger.Txn

	// Guarded by views.mu.
	readers int
	old     bool // no new reader gets it
}

// begin returns a view with all changes made before the call. The caller must pass it to end.
func (s *views) begin() (*view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.badger.IsClosed() {
		return nil, badger.ErrDBClosed
	}
	if s.current == nil {
		changes := s.changes
		s.mu.Unlock()
		v := &view{txn: s.badger.NewTransaction(false)} // waits, and so without the lock
		s.mu.Lock()
		switch {
		case changes != s.changes: // new enough for this caller, but not for the next
			v.readers, v.old = 1, true
			return v, nil
		case s.current != nil: // another was faster
			v.txn.Discard()
		default:
			s.current = v
		}
	}
	s.current.readers++
	return s.current, nil
}

func (s *views) end(v *view) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.readers--; v.old && v.readers == 0 {
		v.txn.Discard()
	}
}

// changed retires the current view. It is called after a change and before the change is
// acknowledged.
func (s *views) changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
	v := s.current
	if s.current = nil; v == nil {
		return
	}
	if v.old = true; v.readers == 0 {
		v.txn.Discard()
	}
}
