package zvhd

import (
	"slices"
	"sort"
	"sync"

	"github.com/imsfs/imsfs/formats/codec"
)

const (
	// maxRecent is how many places are kept because they were used last: 4 MiB of windows.
	maxRecent = 128
	// maxMilestones is how many more are kept, at regular distances all over the file: 16 MiB.
	maxMilestones = 512
	// firstEvery is the distance of milestones in stored blocks at first; it doubles when they
	// become too many.
	firstEvery = 64
)

// pos numbers the places that are remembered: piece p of the block in chunk i.
func pos(i int64, p int) int64 { return i*pieces + int64(p) }

// places are the known places of one file, by pos. It is safe for concurrent use. It holds metadata
// only: the last plain bytes before a place, which no reader gets.
type places struct {
	mu         sync.Mutex
	list       []*known // ascending
	every      int64    // a place is a milestone if its pos is a multiple of every blocks
	milestones int
	recent     int // places kept beside the milestones, at most
	clock      int64
}

// known is one place.
type known struct {
	pos   int64
	place codec.Place
	used  int64 // clock of the last use
}

func newPlaces() *places { return &places{every: firstEvery, recent: maxRecent} }

// nearest returns the last known place that is not after pos: the start of the stream if there is
// no other.
func (k *places) nearest(at int64) (int64, codec.Place) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := k.search(at + 1)
	if i == 0 {
		return 0, streamStart
	}
	return k.list[i-1].pos, k.use(i - 1)
}

// between returns the place at from if it is known and the one at to is as well: decoding would
// find nothing new.
func (k *places) between(from, to int64) (p codec.Place, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.has(to) {
		return p, false
	}
	if from == 0 {
		return streamStart, true
	}
	if !k.has(from) {
		return p, false
	}
	return k.use(k.search(from)), true
}

// add notes a place, whose window is not changed from now on.
func (k *places) add(at int64, p codec.Place) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := k.search(at)
	if k.has(at) {
		k.use(i)
		return
	}
	k.list = slices.Insert(k.list, i, &known{pos: at, place: p})
	k.use(i)
	if k.milestone(at) {
		k.milestones++
	}
	for k.milestones > maxMilestones {
		k.thinOut()
	}
	k.shrink()
}

// addMilestone notes a place only if it is one of those that stay.
func (k *places) addMilestone(at int64, p codec.Place) {
	k.mu.Lock()
	wanted := k.milestone(at)
	k.mu.Unlock()
	if wanted {
		p.Window = slices.Clone(p.Window)
		k.add(at, p)
	}
}

// clear forgets all places, because an index has them.
func (k *places) clear() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list, k.milestones, k.every = nil, 0, firstEvery
}

// Those that follow are called with mu held.

func (k *places) search(at int64) int {
	return sort.Search(len(k.list), func(i int) bool { return k.list[i].pos >= at })
}

func (k *places) has(at int64) bool {
	i := k.search(at)
	return i < len(k.list) && k.list[i].pos == at
}

func (k *places) use(i int) codec.Place {
	k.clock++
	k.list[i].used = k.clock
	return k.list[i].place
}

func (k *places) milestone(at int64) bool { return at%(k.every*pieces) == 0 }

// thinOut turns every other milestone into an ordinary place.
func (k *places) thinOut() {
	k.every *= 2
	k.milestones = 0
	for _, p := range k.list {
		if k.milestone(p.pos) {
			k.milestones++
		}
	}
}

// shrink drops the places used longest ago that are not milestones.
func (k *places) shrink() {
	for len(k.list)-k.milestones > k.recent {
		oldest := -1
		for i, p := range k.list {
			if !k.milestone(p.pos) && (oldest < 0 || p.used < k.list[oldest].used) {
				oldest = i
			}
		}
		k.list = slices.Delete(k.list, oldest, oldest+1)
	}
}
