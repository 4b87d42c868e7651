package packs

import (
	"github.com/imsfs/imsfs/blockstore/kv"
)

// op is one change of the database; without a value it deletes.
type op struct{ key, value []byte }

func (o op) apply(tx *kv.WriteTx) error {
	if o.value == nil {
		return tx.Delete(o.key)
	}
	return tx.Set(o.key, o.value)
}

// What one transaction may hold, well under what the database takes.
const (
	maxOps     = 1000
	maxTxBytes = 128 << 10
)

// write makes changes that need not be made together, in as many transactions as it takes, in their order.
func (s *Store) write(ops ...op) error {
	groups := make([][]op, len(ops))
	for i := range ops {
		groups[i] = ops[i : i+1]
	}
	return s.writeGroups(groups)
}

// writeGroups makes changes, those of one group together.
func (s *Store) writeGroups(groups [][]op) error {
	for len(groups) > 0 {
		n, ops, size := 0, 0, 0
		for n < len(groups) && (n == 0 || ops+len(groups[n]) <= maxOps && size < maxTxBytes) {
			for _, o := range groups[n] {
				size += len(o.key) + len(o.value)
			}
			ops += len(groups[n])
			n++
		}
		if err := s.writeTogether(groups[:n]); err != nil {
			return err
		}
		groups = groups[n:]
	}
	return nil
}

func (s *Store) writeTogether(groups [][]op) error {
	return s.db.Update(func(tx *kv.WriteTx) error {
		for _, group := range groups {
			for _, o := range group {
				if err := o.apply(tx); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
