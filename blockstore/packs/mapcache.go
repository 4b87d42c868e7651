package packs

import (
	"container/list"
	"sync"

	"github.com/imsfs/imsfs/blockstore"
)

// mapCache keeps the most recently used map segments, and counts when each was used. Cached
// segments are shared and never changed.
type mapCache struct {
	most int // segments

	mu    sync.Mutex
	held  map[place]*list.Element // of held
	order *list.List              // front is used last
	epoch uint64                  // of the maps: a segment read in an older one may be out of date

	clock uint64           // counts uses; it goes on where it was when the store is opened again
	uses  map[place]uint64 // those the database does not know yet
}

type heldSegment struct {
	place   place
	segment blockstore.Segment
}

// entrySize is the memory that an entry takes.
const entrySize = 33

func newMapCache(bytes int64) mapCache {
	return mapCache{
		most:  int(max(bytes/(blockstore.SegmentBlocks*entrySize), 1)),
		held:  map[place]*list.Element{},
		order: list.New(),
		uses:  map[place]uint64{},
	}
}

// get returns a segment if it is cached. If not, the caller passes the returned epoch to add. Both
// count as a use.
func (c *mapCache) get(p place) (blockstore.Segment, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.use(p)
	e := c.held[p]
	if e == nil {
		return nil, c.epoch
	}
	c.order.MoveToFront(e)
	return e.Value.(heldSegment).segment, c.epoch
}

// use notes a use; the caller holds mu. Consecutive uses of one place count once.
func (c *mapCache) use(p place) {
	if c.uses[p] != c.clock || c.clock == 0 {
		c.clock++
		c.uses[p] = c.clock
	}
}

// add caches a segment that was read from the database in the given epoch.
func (c *mapCache) add(p place, segment blockstore.Segment, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch || c.held[p] != nil {
		return
	}
	c.held[p] = c.order.PushFront(heldSegment{p, segment})
	for c.order.Len() > c.most {
		last := c.order.Back()
		delete(c.held, last.Value.(heldSegment).place)
		c.order.Remove(last)
	}
}

// replace updates cached segments; a nil segment is removed. Saved places count as used.
func (c *mapCache) replace(changed map[place]blockstore.Segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	for p, segment := range changed {
		if segment != nil {
			c.use(p)
		}
		switch e := c.held[p]; {
		case e == nil:
		case segment == nil:
			delete(c.held, p)
			c.order.Remove(e)
		default:
			e.Value = heldSegment{p, segment}
		}
	}
}

// drop forgets a disk.
func (c *mapCache) drop(disk uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	for p, e := range c.held {
		if p.disk == disk {
			delete(c.held, p)
			c.order.Remove(e)
		}
	}
	for p := range c.uses {
		if p.disk == disk {
			delete(c.uses, p)
		}
	}
}
