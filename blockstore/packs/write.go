package packs

import (
	"github.com/imsfs/imsfs/blockstore/kv"
)

// op is a change of one key in the database. A nil value deletes the key.
type op struct{ key, value []byte }

func (o op) apply(tx *kv.WriteTx) error {
	if o.value == nil {
		return tx.Delete(o.key)
	}
	return tx.Set(o.key, o.value)
}

// These limits of a transaction are well below the database's own.
const (
	maxOps     = 1000
	maxTxBytes = 128 << 10
)

// write makes independent changes, in order, in as many transactions as needed.
func (s *Store) write(ops ...op) error {
	groups := make([][]op, len(ops))
	for i := range ops {
		groups[i] = ops[i : i+1]
	}
	return s.writeGroups(groups)
}

// writeGroups makes changes in order. Changes of one group are made in one transaction.
func (s *Store) writeGroups(groups [][]op) error {
	for len(groups) > 0 {
		n := fitting(groups)
		if err := s.writeTogether(groups[:n]); err != nil {
			return err
		}
		groups = groups[n:]
	}
	return nil
}

// fitting returns how many of the first groups fit into one transaction, at least 1.
func fitting(groups [][]op) int {
	n, ops, size := 0, 0, 0
	for n < len(groups) && (n == 0 || ops+len(groups[n]) <= maxOps && size < maxTxBytes) {
		for _, o := range groups[n] {
			size += len(o.key) + len(o.value)
		}
		ops += len(groups[n])
		n++
	}
	return n
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
