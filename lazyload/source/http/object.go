package http

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/imsfs/imsfs/lazyload/source"
	"github.com/imsfs/imsfs/lazyload/source/pages"
)

var (
	_ source.Object  = (*object)(nil)
	_ source.Aliaser = (*object)(nil)
	_ pages.Fetcher  = (*object)(nil)
)

// object is an open source.
type object struct {
	*pages.File
	kind *Kind
	at   source.Location
	id   source.Identity // constant once it is open

	mu       sync.Mutex
	resolved *url.URL // where redirects led to; nil: ask at the location
}

// state is the state of a source by the headers of an answer.
type state struct {
	total   int64
	etag    string // a strong one, with its quotes; "" if there is none
	modTime time.Time
}

func stateOf(h http.Header, total int64) state {
	s := state{total: total}
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		s.etag = tag
	}
	if t, err := http.ParseTime(h.Get("Last-Modified")); err == nil {
		s.modTime = t
	}
	return s
}

// identity returns the identity of a state. A state without a strong ETag and a time of
// modification has none.
func (s state) identity() (source.Identity, error) {
	if s.etag == "" && s.modTime.IsZero() {
		return source.Identity{}, fmt.Errorf("the server sends neither a strong ETag nor Last-Modified, " +
			"so nothing would tell when the source changes; copy it to a file")
	}
	id := source.Identity{Size: s.total, Tag: source.NewTag(source.ETag, strings.Trim(s.etag, `"`))}
	if !s.modTime.IsZero() {
		id.ModTime = s.modTime.UnixNano()
	}
	return id, nil
}

const edge = 64 << 10 // of an image: the first and the last bytes, which are read by every driver

func (k *Kind) open(ctx context.Context, l source.Location) (*object, error) {
	o := &object{kind: k, at: l}
	type answer struct {
		data  []byte
		state state
		err   error
	}
	tail := make(chan answer, 1)
	tailCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		data, s, err := o.suffix(tailCtx, edge)
		tail <- answer{data, s, err}
	}()
	head, err := o.first(ctx, edge)
	if err != nil {
		return nil, err
	}
	pinned := []pages.Piece{{Off: 0, Data: head}}
	if o.id.Size > int64(len(head)) {
		if a := <-tail; a.err == nil {
			if id, err := a.state.identity(); err == nil && id == o.id {
				pinned = append(pinned, pages.Piece{Off: o.id.Size - int64(len(a.data)), Data: a.data})
			}
		}
	}
	o.File = pages.New(k.cfg.Cache, o, o.id.Size, pinned...)
	return o, nil
}

// Identity implements source.Object.
func (o *object) Identity() source.Identity { return o.id }

// Same implements source.Aliaser.
func (o *object) Same(other source.Object) bool {
	p, ok := other.(*object)
	return ok && p.at == o.at
}

// ReadAt implements formats.Source.
func (o *object) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := o.File.ReadAt(ctx, p, off); err != nil {
		return fmt.Errorf("%s: %w", o.at, err)
	}
	return nil
}

// place returns the URL to ask at, and whether redirects were followed to it before.
func (o *object) place() (u *url.URL, resolved bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.resolved != nil {
		return o.resolved, true, nil
	}
	u, err = url.Parse(o.at.URL())
	if err != nil {
		return nil, false, fmt.Errorf("not a URL")
	}
	return u, false, nil
}

// pin keeps where redirects led to, so that a source is not read from several mirrors by turns.
func (o *object) pin(u *url.URL) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.resolved = u
}

// unpin forgets a place that does not answer any more, unless it was replaced meanwhile.
func (o *object) unpin(u *url.URL) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.resolved == u {
		o.resolved = nil
	}
}
