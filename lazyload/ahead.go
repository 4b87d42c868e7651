package lazyload

import (
	"sync"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/cache"
)

// Decoding ahead. Reads are matched to streams, each the track of one reader going forward through the disk. Once a
// stream has proved itself, workers decode the clusters in front of it, as far as it has come itself, and no further than a window: who
// boots reads many files that are short, and what is decoded behind their ends nobody asked for. A worker is a goroutine that
// lives as long as there is work in its stream's window; their number over all disks is bounded by the Loader, and
// a reader that needs a cluster never waits for one: it joins the worker's decode or starts its own.

const (
	maxStreams = 8       // readers followed at once on one disk
	nearby     = 1 << 20 // how far from its place a stream's next read may be: the kernel's requests overtake each other
	proof      = 256 << 10
	aheadBytes = 8 << 20
)

// window is how far in front of a reader clusters are decoded: 0, not at all, when the cache cannot hold them.
func window(cluster, cacheSize int64) int64 {
	w := max(aheadBytes, 2*cluster)
	if w > cacheSize/4 {
		w = cacheSize / 4 / cluster * cluster
	}
	return w
}

type ahead struct {
	window int64

	mu      sync.Mutex // guards the following
	clock   int64      // counts observations
	streams [maxStreams]stream
}

type stream struct {
	next int64 // the offset behind the furthest read
	read int64 // bytes read since the stream began
	hits int   // reads that went on where one of the stream had ended
	done int64 // clusters below are decoded, or on their way
	used int64 // clock of the last read
	born int64 // clock of the first: tells a worker that its stream is gone
}

// observe notes a read of n bytes at off and returns its stream, or nil while there is nothing to decode ahead.
func (a *ahead) observe(off, n int64) *stream {
	a.clock++
	s := a.match(off)
	if s == nil {
		s = a.oldest()
		*s = stream{next: off + n, read: n, used: a.clock, born: a.clock}
		return nil
	}
	s.used = a.clock
	if off+n > s.next {
		s.next = off + n
		s.read += n
		s.hits++
	}
	if s.hits == 0 || s.read < proof {
		return nil
	}
	return s
}

func (a *ahead) match(off int64) *stream {
	for i := range a.streams {
		s := &a.streams[i]
		if s.born != 0 && off >= s.next-nearby && off <= s.next+nearby {
			return s
		}
	}
	return nil
}

func (a *ahead) oldest() *stream {
	s := &a.streams[0]
	for i := range a.streams {
		if a.streams[i].used < s.used {
			s = &a.streams[i]
		}
	}
	return s
}

// claim returns the range from the next cluster that is to be decoded ahead to the end of the stream's window, empty when
// that is full or the stream is not the one born at that time any more. The caller takes it on by setting done.
func (a *ahead) claim(s *stream, born, cluster, size int64) (off, end int64) {
	if s.born != born {
		return 0, 0
	}
	off = max(s.done, (s.next+cluster-1)/cluster*cluster)
	return off, min(s.next+min(a.window, s.read), size)
}

// readAhead notes a read and starts as many workers as there are clusters to decode and processors free.
func (d *Disk) readAhead(off, n int64) {
	a := &d.ahead
	if a.window == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.observe(off, n)
	if s == nil {
		return
	}
	from, end := a.claim(s, s.born, d.unit, d.size)
	for ; from < end; from += d.unit {
		select {
		case d.loader.workers <- struct{}{}:
			d.loads.Add(1)
			go d.work(s, s.born)
		default:
			return
		}
	}
}

// work decodes the clusters in front of a stream until its window is full.
func (d *Disk) work(s *stream, born int64) {
	defer d.loads.Done()
	defer func() { <-d.loader.workers }()
	for d.ctx.Err() == nil {
		off, ok := d.nextAhead(s, born)
		if !ok {
			return
		}
		d.loads.Add(1)
		if !d.loader.cache.Ahead(cache.Key{Disk: d.id, Off: off}, d.unitLen(off), (*decoder)(d)) {
			d.loads.Done()
		}
	}
}

// nextAhead takes on the next cluster of compressed data in the stream's window.
func (d *Disk) nextAhead(s *stream, born int64) (off int64, ok bool) {
	d.ahead.mu.Lock()
	defer d.ahead.mu.Unlock()
	for {
		off, end := d.ahead.claim(s, born, d.unit, d.size)
		if off >= end {
			return 0, false
		}
		wanted, until, err := d.wantedAhead(off, end)
		if err != nil {
			return 0, false // the reader will meet it and tell
		}
		s.done = until
		if wanted {
			return off, true
		}
	}
}

// wantedAhead tells whether the unit at off is to be loaded ahead, and up to where that holds.
func (d *Disk) wantedAhead(off, end int64) (wanted bool, until int64, err error) {
	next := off + d.unit
	if d.stored != nil {
		if has, err := d.stored.has(off, int64(d.unitLen(off))); err != nil || has {
			return false, next, err
		}
	}
	img, err := d.image.get(d.ctx)
	if err != nil {
		return false, 0, err
	}
	e, err := img.Extent(d.ctx, off, end-off)
	if err != nil {
		return false, 0, err
	}
	if e.State == formats.Data && d.cached(e) {
		return true, next, nil
	}
	// What is in front of the first unit with data needs no look again; a unit that only ends in data is left to its reader.
	return false, max(next, e.End()/d.unit*d.unit), nil
}
