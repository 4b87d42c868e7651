package http

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/imsfs/imsfs/lazyload/source"
	"github.com/imsfs/imsfs/lazyload/source/pages"
)

const maxRedirects = 5

// checkRedirect permits a redirect by the policy of the host that it leads to.
func (k *Kind) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return &permanent{fmt.Errorf("more than %d redirects", maxRedirects)}
	}
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return source.Refuse("a redirect from https leads to %s", req.URL.Scheme)
	}
	if err := k.cfg.Policy.check(req.URL); err != nil {
		return fmt.Errorf("redirected: %w", err)
	}
	return nil
}

// answer is a server's answer. It must be closed.
type answer struct {
	*http.Response
	cancel context.CancelFunc // ends a read of the body, which closing it would wait for
}

func (a *answer) Close() error {
	defer a.cancel()
	return a.Body.Close()
}

// do makes one request for a range, as the Range header has it.
func (o *object) do(ctx context.Context, ranges string) (_ *answer, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	u, resolved, err := o.place()
	if err != nil {
		return nil, &permanent{err}
	}
	if err := o.kind.cfg.Policy.check(u); err != nil {
		return nil, err
	}
	req := (&http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{
		"Range":           {"bytes=" + ranges},
		"Accept-Encoding": {"identity"},
		"User-Agent":      {"imsfs"},
	}}).WithContext(ctx)
	if tag := o.id.Tag.Get(source.ETag); tag != "" {
		req.Header.Set("If-Match", `"`+tag+`"`)
	}
	resp, err := o.kind.client.Do(req)
	if err != nil {
		if resolved {
			o.unpin(u)
		}
		return nil, withoutURL(err)
	}
	if final := resp.Request.URL; !resolved && final.String() != u.String() {
		o.pin(final)
	}
	if resolved && expired(resp.StatusCode) { // perhaps a signed URL: ask for another
		o.unpin(u)
		resp.Body.Close()
		return nil, &passing{err: fmt.Errorf("the redirect's target has expired (%s)", resp.Status)}
	}
	return &answer{resp, cancel}, nil
}

func expired(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return true
	}
	return false
}

// withoutURL drops the URL from an error of net/http, because its query may hold a secret.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// checkStatus returns an error unless an answer is a range.
func (o *object) checkStatus(resp *answer) error {
	switch s := resp.StatusCode; {
	case s == http.StatusPartialContent:
	case s == http.StatusOK:
		return &passing{err: fmt.Errorf("the server does not answer ranges, so the source cannot be read lazily; "+
			"copy it to a file: %w", errors.ErrUnsupported)}
	case s == http.StatusPreconditionFailed:
		return &permanent{fmt.Errorf("%w: the server has another state of it", source.ErrChanged)}
	case s == http.StatusNotFound || s == http.StatusGone:
		return &permanent{fmt.Errorf("the server answers %q: %w", resp.Status, iofs.ErrNotExist)}
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		return &permanent{fmt.Errorf("the server answers %q: %w", resp.Status, iofs.ErrPermission)}
	case s == http.StatusTooManyRequests || s == http.StatusServiceUnavailable:
		o.kind.turns.halve()
		return &passing{err: fmt.Errorf("the server answers %q", resp.Status), after: retryAfter(resp.Header)}
	case s == http.StatusRequestTimeout || s >= 500 && s != http.StatusNotImplemented,
		s == http.StatusRequestedRangeNotSatisfiable: // caches answer this to good ranges
		return &passing{err: fmt.Errorf("the server answers %q", resp.Status)}
	default:
		return &permanent{fmt.Errorf("the server answers %q", resp.Status)}
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return &passing{err: fmt.Errorf("the server encodes the range (%q)", e)}
	}
	if t := resp.Header.Get("Content-Type"); strings.HasPrefix(strings.ToLower(t), "multipart/") {
		return &passing{err: fmt.Errorf("the server answers one range with several")}
	}
	return nil
}

// retryAfter is how long the server asks to wait, 0 if it does not say or gives a date.
func retryAfter(h http.Header) time.Duration {
	s, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || s < 0 {
		return 0
	}
	return time.Duration(min(s, 3600)) * time.Second
}

// contentRange parses "bytes BEGIN-LAST/TOTAL".
func contentRange(h http.Header) (begin, end, total int64, err error) {
	text := h.Get("Content-Range")
	bad := &passing{err: fmt.Errorf("the server answers the range %q", text)}
	rest, ok := strings.CutPrefix(text, "bytes ")
	bounds, size, ok2 := strings.Cut(rest, "/")
	first, last, ok3 := strings.Cut(bounds, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, 0, bad
	}
	begin, err1 := strconv.ParseInt(first, 10, 64)
	end, err2 := strconv.ParseInt(last, 10, 64)
	total, err3 := strconv.ParseInt(size, 10, 64)
	if errors.Join(err1, err2, err3) != nil || begin < 0 || end < begin || end >= total {
		return 0, 0, 0, bad
	}
	return begin, end + 1, total, nil
}

// first reads the first n bytes of a source that is not open yet, and takes its identity.
func (o *object) first(ctx context.Context, n int64) ([]byte, error) {
	var data []byte
	err := o.retry(ctx, source.Demand, nil, func(ctx context.Context) error {
		resp, err := o.do(ctx, fmt.Sprintf("0-%d", n-1))
		if err != nil {
			return err
		}
		defer resp.Close()
		if err := o.checkStatus(resp); err != nil {
			return err
		}
		begin, end, total, err := contentRange(resp.Header)
		if err != nil {
			return err
		}
		if begin != 0 || end != min(n, total) {
			return &passing{err: fmt.Errorf("the server answers bytes %d to %d, asked for 0 to %d", begin, end, n)}
		}
		id, err := stateOf(resp.Header, total).identity()
		if err != nil {
			return &permanent{err}
		}
		data = make([]byte, end)
		if _, err := o.body(resp, [][]byte{data}, 0, nil); err != nil {
			return err
		}
		o.id = id
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.at, err)
	}
	return data, nil
}

// suffix reads the last n bytes before the length is known. It is tried once.
func (o *object) suffix(ctx context.Context, n int64) ([]byte, state, error) {
	fresh := &object{kind: o.kind, at: o.at} // knows no identity, and its redirects are its own
	resp, err := fresh.do(ctx, fmt.Sprintf("-%d", n))
	if err != nil {
		return nil, state{}, err
	}
	defer resp.Close()
	if err := fresh.checkStatus(resp); err != nil {
		return nil, state{}, err
	}
	begin, end, total, err := contentRange(resp.Header)
	if err != nil {
		return nil, state{}, err
	}
	if end != total || end-begin != min(n, total) {
		return nil, state{}, errors.New("another range")
	}
	data := make([]byte, end-begin)
	_, err = fresh.body(resp, [][]byte{data}, 0, nil)
	return data, stateOf(resp.Header, total), err
}

// Fetch implements pages.Fetcher. A request that is cut goes on from the byte that it reached.
func (o *object) Fetch(ctx context.Context, r pages.Request) error {
	reached, total := int64(0), r.Len()
	return o.retry(ctx, r.Class, r.Urgent, func(ctx context.Context) error {
		from, to := r.Off+reached, r.Off+total
		resp, err := o.do(ctx, fmt.Sprintf("%d-%d", from, to-1))
		if err != nil {
			return err
		}
		defer resp.Close()
		if err := o.checkStatus(resp); err != nil {
			return err
		}
		if err := o.checkRange(resp, from, to); err != nil {
			return err
		}
		n, err := o.body(resp, r.Bufs, reached, r.Done)
		reached = n
		return err
	})
}

// checkRange returns an error unless an answer has exactly a range of the state that was opened.
func (o *object) checkRange(resp *answer, from, to int64) error {
	begin, end, total, err := contentRange(resp.Header)
	if err != nil {
		return err
	}
	now := stateOf(resp.Header, total)
	if total != o.id.Size || o.id.Tag.Get(source.ETag) != strings.Trim(now.etag, `"`) ||
		o.id.Tag == "" && o.id.ModTime != now.modTime.UnixNano() {
		o.kind.forget(o.at)
		return &permanent{fmt.Errorf("%w: the server has another state of it", source.ErrChanged)}
	}
	if begin != from || end != to {
		return &passing{err: fmt.Errorf("the server answers bytes %d to %d, asked for %d to %d", begin, end, from, to)}
	}
	if n := resp.ContentLength; n >= 0 && n != to-from {
		return &passing{err: fmt.Errorf("the server answers %d bytes, asked for %d", n, to-from)}
	}
	return nil
}

// body reads a body into buffers, from the byte that was reached in them. It calls done for each that
// is full, and returns the byte that it reached. A body that stalls, ends early or goes on too long
// is an error.
func (o *object) body(resp *answer, bufs [][]byte, reached int64, done func(int)) (int64, error) {
	stalled := time.AfterFunc(stallTime, resp.cancel)
	defer stalled.Stop()
	entry, start := reached, int64(0)
	for i, b := range bufs {
		end := start + int64(len(b))
		for reached < end {
			n, err := resp.Body.Read(b[reached-start:])
			reached += int64(n)
			stalled.Reset(stallTime)
			if err != nil && reached < end {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return reached, &passing{err: fmt.Errorf("the answer was cut off: %w", withoutURL(err))}
			}
			if n == 0 && err == nil {
				continue
			}
		}
		if done != nil && end > entry {
			done(i)
		}
		start = end
	}
	return reached, nil
}
