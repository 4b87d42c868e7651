package packs

import (
	"encoding/binary"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

func (s *Store) Stats() (blockstore.Stats, error) {
	st := blockstore.Stats{Limit: s.opts.Limit, Quarantined: s.quarantine.count.Load()}
	s.writer.Lock()
	st.Blocks, st.Stored = s.counts.blocks, s.counts.stored
	s.writer.Unlock()
	var err error
	if st.Used, err = s.files.used(); err != nil {
		return st, err
	}
	err = s.db.View(func(tx *kv.Tx) error {
		for e, err := range tx.Prefix([]byte(diskPrefix)) {
			if err != nil {
				return err
			}
			n, err := readCount(tx, binary.BigEndian.Uint64(e.Key[len(diskPrefix):]))
			if err != nil {
				return err
			}
			st.Disks++
			st.Mapped += n.data * blockstore.BlockSize
		}
		return nil
	})
	return st, err
}
