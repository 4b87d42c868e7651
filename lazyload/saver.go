package lazyload

import (
	"context"
	"errors"
	iofs "io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imsfs/imsfs/lazyload/cache"
)

// The saver brings into the store what readers made the disks load, off their path. Its queue names units, which stay where
// they are, in the cache: no memory of its own grows with it. When the queue is full, or a unit has left the cache
// before its turn, the unit stays absent, and a later read loads it again.
//
// Readers come first. Compression takes far more processor time than decoding, so while readers load, one unit is saved at
// a time, and after each the saver rests.

const (
	savers = 4  // that save at once while nobody loads, to share the store's syncs
	rest   = 19 // times what saving a unit took, while somebody loads: a twentieth of the time is the saver's
	// longestRest keeps a saver that waits for a slow disk, and not for a processor, from resting for seconds: who closes a
	// disk waits for it.
	longestRest = 250 * time.Millisecond
)

// SaveStats counts since the Loader was made.
type SaveStats struct {
	Units    int64 // brought into the store
	Skipped  int64 // not, because the queue was full or the unit had left the cache
	Failures int64 // not, because the store failed
}

type saver struct {
	cache    *cache.Cache
	store    Store
	most     int64 // bytes of units that may wait
	now      func() time.Time
	queue    chan saving
	quit     chan struct{} // closed by close; queue never is, as the kernel may drop the closing of a disk when it unmounts
	turn     chan struct{} // holds a token who saves while readers load
	failures chan error
	demand   atomic.Int64 // counts loads that readers waited for
	hurried  atomic.Int64 // closings that wait
	waiting  atomic.Int64 // bytes of units in the queue
	running  sync.WaitGroup

	units, skipped, failed atomic.Int64
}

// saving is a unit on its way into the store.
type saving struct {
	disk *Disk
	off  int64
}

// maxWaiting bounds the queue by number, as small units are bounded by bytes too late.
const maxWaiting = 4096

func newSaver(c *cache.Cache, store Store, most int64, now func() time.Time) *saver {
	s := &saver{
		cache: c, store: store, most: most, now: now,
		queue:    make(chan saving, maxWaiting),
		quit:     make(chan struct{}),
		turn:     make(chan struct{}, 1),
		failures: make(chan error, 1),
	}
	if store != nil {
		for range savers {
			s.running.Go(s.run)
		}
	}
	return s
}

// offer queues a unit that was loaded, if there is room.
func (s *saver) offer(d *Disk, off int64) {
	n := int64(d.unitLen(off))
	if s.waiting.Add(n) > s.most {
		s.waiting.Add(-n)
		s.skipped.Add(1)
		return
	}
	d.loads.Add(1) // the caller's own is not given back yet, so none waits for zero now
	select {
	case s.queue <- saving{d, off}:
	default:
		d.loads.Done()
		s.waiting.Add(-n)
		s.skipped.Add(1)
	}
}

func (s *saver) run() {
	var demand int64 // as it was when the saver last looked
	for {
		u, ok := s.next()
		if !ok {
			return
		}
		if now := s.demand.Load(); now != demand {
			demand = now
			s.turn <- struct{}{}
			s.rest(s.save(u))
			<-s.turn
		} else {
			s.save(u)
		}
	}
}

// next waits for a unit; there is none when the saver is closed and the queue empty.
func (s *saver) next() (saving, bool) {
	select {
	case u := <-s.queue:
		return u, true
	default:
	}
	select {
	case u := <-s.queue:
		return u, true
	case <-s.quit:
		return saving{}, false
	}
}

// rest leaves the processors to the readers, unless somebody waits for the queue to be empty.
func (s *saver) rest(work time.Duration) {
	if s.hurried.Load() > 0 {
		return
	}
	<-time.After(min(rest*work, longestRest))
}

// save saves a unit, and returns how long that took.
func (s *saver) save(u saving) time.Duration {
	n := u.disk.unitLen(u.off)
	defer u.disk.loads.Done()
	defer s.waiting.Add(int64(-n))
	b := s.cache.Peek(cache.Key{Disk: u.disk.id, Off: u.off})
	if b == nil {
		s.skipped.Add(1)
		return 0
	}
	defer b.Release()
	start := s.now()
	// Not under the disk's context: what was loaded is saved also when the disk is being closed.
	err := s.store.Save(context.Background(), u.disk.stored.disk, u.off, b.Bytes())
	switch {
	case err == nil:
		s.units.Add(1)
	case errors.Is(err, iofs.ErrNotExist): // the disk was deleted meanwhile
		s.skipped.Add(1)
	default:
		s.failed.Add(1)
		s.tell(err)
	}
	return s.now().Sub(start)
}

// tell hands a failure to who listens; one that nobody has taken yet says enough.
func (s *saver) tell(err error) {
	select {
	case s.failures <- err:
	default:
	}
}

// hurry runs fn while the saver takes no rests.
func (s *saver) hurry(fn func()) {
	s.hurried.Add(1)
	defer s.hurried.Add(-1)
	fn()
}

func (s *saver) stats() SaveStats {
	return SaveStats{Units: s.units.Load(), Skipped: s.skipped.Load(), Failures: s.failed.Load()}
}

// close ends the savers when what waits is saved. What is offered later is not.
func (s *saver) close() {
	close(s.quit)
	s.running.Wait()
}
