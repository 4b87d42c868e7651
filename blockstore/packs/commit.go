package packs

import (
	"errors"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

// enter makes the batch's changes in the database and then in memory. The packs have the bytes
// already.
func (b *batch) enter() error {
	s := b.s
	defer func() {
		changed := make(map[place]blockstore.Segment, len(b.changed))
		for p, c := range b.changed {
			changed[p] = c.entries
		}
		s.maps.replace(changed)
	}()
	// A failed transaction may still be found when the store is opened again, so its records
	// must stay.
	defer s.tail.commit()
	s.used += b.appended
	if err := s.writeGroups(b.groups()); err != nil {
		b.forget()
		return errors.Join(err, s.recount())
	}
	s.counts = b.counts
	for _, id := range b.healed {
		s.quarantine.remove(id)
	}
	s.punch(b.freed)
	return nil
}

// groups returns the batch's changes of the database in order. Every prefix of them is a whole
// store.
func (b *batch) groups() (groups [][]op) {
	if len(b.index) > 0 {
		groups = append(groups, append([]op{{[]byte(tailKey), b.s.tail.encode(b.counts)}}, b.index...))
	}
	for i := range b.shared {
		groups = append(groups, b.shared[i:i+1])
	}
	return append(groups, b.maps...)
}

// recount reads the counts again after a transaction whose outcome is unknown.
func (s *Store) recount() error {
	return s.db.View(func(tx *kv.Tx) error {
		v, err := find(tx, []byte(tailKey))
		if err == nil && v != nil {
			s.counts, err = new(tail).decode(v)
		}
		return err
	})
}

// forget drops the changed segments from the cache, because the database may hold either state of
// them.
func (b *batch) forget() {
	for _, c := range b.changed {
		c.entries = nil
	}
}

// punch frees the space of records that left the index. It is best effort: a sweep does it again.
func (s *Store) punch(freed []location) {
	for _, loc := range freed {
		if f, err := s.files.get(loc.pack); err == nil {
			_ = f.Punch(loc.off, loc.size())
		}
	}
}
