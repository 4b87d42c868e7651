package catalog

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
)

// record is an image's or a volume's.
type record interface {
	key() []byte
	number() uint64
	name() string
	numbers() []uint64
}

// shelf holds the records of one kind.
type shelf[R record] struct {
	byID   map[uint64]R
	byName map[string]uint64
	sorted atomic.Pointer[[]uint64] // the numbers by name, nil if a name came or went since
}

func newShelf[R record]() *shelf[R] {
	return &shelf[R]{byID: map[uint64]R{}, byName: map[string]uint64{}}
}

// load puts in a record from the database, or says why it cannot be one.
func (s *shelf[R]) load(rec R) error {
	if rec.name() == "" {
		return fmt.Errorf("number %d has no name", rec.number())
	}
	if other, ok := s.byName[rec.name()]; ok {
		return fmt.Errorf("numbers %d and %d are both named %q", other, rec.number(), rec.name())
	}
	s.put(rec)
	return nil
}

func (s *shelf[R]) put(rec R) {
	if old, ok := s.byID[rec.number()]; ok && old.name() == rec.name() {
		s.byID[rec.number()] = rec
		return
	}
	s.remove(rec.number())
	s.byID[rec.number()] = rec
	s.byName[rec.name()] = rec.number()
	s.sorted.Store(nil)
}

func (s *shelf[R]) remove(id uint64) {
	if old, ok := s.byID[id]; ok {
		delete(s.byName, old.name())
		delete(s.byID, id)
		s.sorted.Store(nil)
	}
}

func (s *shelf[R]) named(name string) (rec R, ok bool) {
	id, ok := s.byName[name]
	if !ok {
		return rec, false
	}
	return s.byID[id], true
}

// numbers returns the numbers of all records in the order of their names. The caller must not
// change the slice.
func (s *shelf[R]) numbers() []uint64 {
	if sorted := s.sorted.Load(); sorted != nil {
		return *sorted
	}
	sorted := make([]uint64, 0, len(s.byName))
	for _, name := range slices.Sorted(maps.Keys(s.byName)) {
		sorted = append(sorted, s.byName[name])
	}
	s.sorted.Store(&sorted)
	return sorted
}
