package packs

import (
	"sync"
	"sync/atomic"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

// quarantine is the set of damaged blocks. It is kept in memory, because damage is rare.
type quarantine struct {
	count atomic.Int64
	mu    sync.RWMutex
	ids   map[blockstore.ID]struct{}
}

func (q *quarantine) empty() bool { return q.count.Load() == 0 }

func (q *quarantine) has(id blockstore.ID) bool {
	if q.empty() {
		return false
	}
	q.mu.RLock()
	defer q.mu.RUnlock()
	_, ok := q.ids[id]
	return ok
}

func (q *quarantine) add(id blockstore.ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ids == nil {
		q.ids = map[blockstore.ID]struct{}{}
	}
	q.ids[id] = struct{}{}
	q.count.Store(int64(len(q.ids)))
}

func (q *quarantine) remove(id blockstore.ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.ids, id)
	q.count.Store(int64(len(q.ids)))
}

// all returns the blocks in the set.
func (q *quarantine) all() []blockstore.ID {
	q.mu.RLock()
	defer q.mu.RUnlock()
	ids := make([]blockstore.ID, 0, len(q.ids))
	for id := range q.ids {
		ids = append(ids, id)
	}
	return ids
}

func (q *quarantine) load(tx *kv.Tx) error {
	for e, err := range tx.Prefix([]byte(quarantinePrefix)) {
		if err != nil {
			return err
		}
		if len(e.Key) != len(quarantinePrefix)+len(blockstore.ID{}) {
			return damagedKey(e.Key, "it has another length")
		}
		q.add(blockstore.ID(e.Key[len(quarantinePrefix):]))
	}
	return nil
}
