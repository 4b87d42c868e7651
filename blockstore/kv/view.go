package kv

import (
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// views lets those who only read share one of Badger's transactions until the next change. To begin and end one takes longer than
// to look a key up, and it waits for the changes that are being written, which a reader need not see. Badger calls a transaction one
// goroutine's; of those that never write, reading changes nothing but a counter of iterators, which is atomic.
type views struct {
	badger *badger.DB

	mu      sync.Mutex
	current *view
	changes int // since the store was opened
}

// view is the store at one moment.
type view struct {
	txn *badger.Txn

	// Guarded by views.mu.
	readers int
	old     bool // nobody else will read it
}

// begin returns a view that has all changes which were made before it was asked for. Give it to end.
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
		case changes != s.changes: // new enough for who asked, but not for the next
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

// changed is called when the store is no longer what the view shows, before that is told to anybody.
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
