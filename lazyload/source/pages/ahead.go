package pages

import "github.com/imsfs/imsfs/lazyload/source"

const (
	firstWindow = 4  // pages that a miss fetches
	maxWindow   = 16 // at most
	trial       = 1 << 20
	retrial     = 64 // misses until a window that did not pay is tried again

	sequential = 256 << 10 // bytes after which a reader is taken for a sequential one
	slack      = 1 << 20   // how far its reads may be out of order
	firstPart  = 1 << 20
	laterPart  = 4 << 20
	maxAhead   = 16 << 20
)

// window is how many pages a miss fetches. It is judged by the share of its extra pages that are
// read: pages cost random readers bandwidth, and save sequential ones round trips.
type window struct {
	pages   int64
	fetched int64 // bytes of extra pages since the last judgement
	read    int64 // of those
	misses  int   // since the window is a single page
}

// widen returns the pages after a miss that are to be fetched with it. The caller holds mu.
func (f *File) widen(last int64) []*page {
	w := &f.window
	w.judge()
	end := (last/w.pages + 1) * w.pages
	var extra []*page
	for i := last + 1; i < end && i*Size < f.size && f.pages[i] == nil; i++ {
		p := f.add(i)
		p.extra = true
		w.fetched += int64(len(p.data))
		extra = append(extra, p)
	}
	return extra
}

func (w *window) judge() {
	switch {
	case w.pages == 1:
		if w.misses++; w.misses < retrial {
			return
		}
		*w = window{pages: firstWindow}
	case w.fetched < trial:
	case w.read < w.fetched/4:
		*w = window{pages: 1}
	default:
		*w = window{pages: min(w.pages*2, maxWindow)}
	}
}

// stream is a sequential reader.
type stream struct {
	next  int64 // where its next read is expected
	came  int64 // bytes that it has read
	ahead int64 // pages before this offset were requested
}

// streams are the readers of a file that were active last, the latest first.
type streams [4]stream

// find returns the stream that a read belongs to, as the first. A read that belongs to none takes
// the place of the oldest.
func (s *streams) find(off int64) *stream {
	at := len(s) - 1
	found := stream{next: off}
	for i, t := range s {
		if t.came > 0 && off >= t.next-slack && off <= t.next+slack {
			at, found = i, t
			break
		}
	}
	copy(s[1:at+1], s[:at])
	s[0] = found
	return &s[0]
}

// readAhead requests the pages that a sequential reader will need. The caller holds mu.
func (f *File) readAhead(off, n int64, class source.Class) {
	s := f.streams.find(off)
	s.came += n
	s.next = max(s.next, off+n)
	if s.came < sequential {
		return
	}
	part := int64(firstPart)
	if s.came >= 2*laterPart {
		part = laterPart
	}
	end := min(s.next+min(2*s.came, maxAhead, f.cache.limit/2), f.size)
	s.ahead = max(s.ahead, s.next)
	for s.ahead < end && (end-s.ahead >= part || end == f.size) {
		if f.cache.flying+part > f.cache.limit/2 {
			return
		}
		var missing []*page
		stop := min(s.ahead+part, end)
		for i := s.ahead / Size; i*Size < stop; i++ {
			if f.pages[i] == nil {
				missing = append(missing, f.add(i))
			}
		}
		f.start(missing, max(class, source.Window), part)
		s.ahead = stop
	}
}
