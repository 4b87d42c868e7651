package packs

import (
	"encoding/binary"

	"github.com/imsfs/imsfs/blockstore/kv"
)

// clockKey holds the clock of uses at the last flush.
const clockKey = "use"

func readClock(tx *kv.Tx) (uint64, error) {
	v, err := find(tx, []byte(clockKey))
	if err != nil || v == nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, damagedKey([]byte(clockKey), "it has another length")
	}
	return binary.LittleEndian.Uint64(v), nil
}

// flushUses writes the uses noted in memory to the database. The caller holds the writer's lock.
func (s *Store) flushUses() error {
	s.maps.mu.Lock()
	uses, clock := s.maps.uses, s.maps.clock
	s.maps.uses = map[place]uint64{}
	s.maps.mu.Unlock()
	if len(uses) == 0 {
		return nil
	}
	ops := []op{{[]byte(clockKey), binary.LittleEndian.AppendUint64(nil, clock)}}
	for p, when := range uses {
		ops = append(ops, op{p.key(usePrefix), binary.LittleEndian.AppendUint64(nil, when)})
	}
	return s.write(ops...)
}
