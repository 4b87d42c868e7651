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

const (
	savers = 4  // goroutines; several save at once while no reader loads, to share the store's syncs
	rest   = 19 // times the duration of a save: the saver's share is a twentieth while readers load
	// longestRest bounds a rest after a save that waited for a slow disk and not for a processor,
	// because Close waits for the saver.
	longestRest = 250 * time.Millisecond
)

// SaveStats are counts of units since the Loader was made.
type SaveStats struct {
	Units    int64 // saved
	Skipped  int64 // not saved because the queue was full or the unit had left the cache
	Failures int64 // not saved because the store failed
}

// saver saves the units that readers loaded, after the readers were answered. Its queue names units
// in the cache, so it needs no memory of its own. If the queue is full, or a unit leaves the cache
// before its turn, the unit stays absent and a later read loads it again.
//
// Readers come first. Compression takes far more processor time than decoding, so while readers
// load, one unit is saved at a time, and the saver rests after it.
type saver struct {
	cache    *cache.Cache
	store    Store
	most     int64 // bytes of units that may wait
	now      func() time.Time
	queue    chan saving   // never closed, because disks may outlive the saver when the kernel unmounts
	quit     chan struct{} // closed by close
	turn     chan struct{} // has a token while a unit is saved although readers load
	failures chan error
	demand   atomic.Int64 // counts loads that readers waited for
	hurried  atomic.Int64 // running calls of hurry
	waiting  atomic.Int64 // bytes of units in the queue
	running  sync.WaitGroup

	units, skipped, failed atomic.Int64
}

// saving is a unit in the saver's queue.
type saving struct {
	disk *Disk
	off  int64
}

// maxWaiting bounds the number of queued units, because most would admit too many small ones.
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

// offer queues a loaded unit if there is room. The caller must hold a count of the disk's loads.
func (s *saver) offer(d *Disk, off int64) {
	n := int64(d.unitLen(off))
	if s.waiting.Add(n) > s.most {
		s.waiting.Add(-n)
		s.skipped.Add(1)
		return
	}
	d.loads.Add(1) // no Wait has returned, because the caller still holds its own count
	select {
	case s.queue <- saving{d, off}:
	default:
		d.loads.Done()
		s.waiting.Add(-n)
		s.skipped.Add(1)
	}
}

func (s *saver) run() {
	var demand int64 // as of the last unit
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

// next waits for a unit. It returns false when the saver is closed and the queue empty.
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

// rest leaves the processors to the readers, unless a hurry is running.
func (s *saver) rest(work time.Duration) {
	if s.hurried.Load() > 0 {
		return
	}
	<-time.After(min(rest*work, longestRest))
}

// save saves a unit and returns the time that it took.
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
	// Not under the disk's context, because Close lets loaded units be saved.
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

// tell publishes a failure, unless an earlier one was not received yet.
func (s *saver) tell(err error) {
	select {
	case s.failures <- err:
	default:
	}
}

// hurry runs fn, during which the saver does not rest.
func (s *saver) hurry(fn func()) {
	s.hurried.Add(1)
	defer s.hurried.Add(-1)
	fn()
}

func (s *saver) stats() SaveStats {
	return SaveStats{Units: s.units.Load(), Skipped: s.skipped.Load(), Failures: s.failed.Load()}
}

// close waits until the queue is saved and ends the savers. Units that are offered later are not
// saved.
func (s *saver) close() {
	close(s.quit)
	s.running.Wait()
}
