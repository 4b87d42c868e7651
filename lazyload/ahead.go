package lazyload

import (
	"sync"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/cache"
)

// Decoding ahead. A stream is the track of one sequential reader. After a stream has read proof
// bytes, workers decode the next clusters: as many bytes as the stream has read so far, and at most
// a window. A booting guest reads many short files, and clusters past their ends would be decoded
// in vain.
//
// A worker is a goroutine that lives while there is work in its stream's window. The Loader bounds
// their number over all disks. A reader never waits for a worker to become free: it joins the
// worker's decode or starts its own.

const (
	maxStreams = 8         // readers followed at once on one disk
	nearby     = 1 << 20   // tolerance for a stream's next read: the kernel's requests overtake each other
	proof      = 256 << 10 // bytes
	aheadBytes = 8 << 20
)

// window returns how many bytes are decoded ahead of a reader: 0 if the cache cannot hold them.
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
	next int64 // the end of the furthest read
	read int64 // bytes read since the stream began
	hits int   // reads that continued the stream
	done int64 // clusters before this offset are decoded, or being decoded
	used int64 // clock of the last read
	born int64 // clock of the first read; another value means that a worker's stream was replaced
}

// observe records a read of n bytes at off and returns its stream, or nil if nothing should be
// decoded ahead. The caller must hold mu.
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

// claim returns the range from the stream's next cluster to decode to the end of its window. It is
// empty if the window is full, or if the stream was replaced since born. The caller must hold mu,
// and claims clusters by setting done.
func (a *ahead) claim(s *stream, born, cluster, size int64) (off, end int64) {
	if s.born != born {
		return 0, 0
	}
	off = max(s.done, (s.next+cluster-1)/cluster*cluster)
	return off, min(s.next+min(a.window, s.read), size)
}

// readAhead records a read and starts workers: at most one for each cluster to decode, and as many
// as the Loader has free.
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

// work decodes clusters ahead of a stream until its window is full.
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

// nextAhead claims the next cluster in the stream's window that wantedAhead accepts.
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
			return 0, false // the reader will meet the error
		}
		s.done = until
		if wanted {
			return off, true
		}
	}
}

// wantedAhead reports whether the unit at off should be loaded ahead. The answer holds up to the
// offset until.
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
	// The units before the first data are not wanted either. A unit that only ends in data is left
	// to its reader.
	return false, max(next, e.End()/d.unit*d.unit), nil
}
