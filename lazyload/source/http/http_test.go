package http

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	iofs "io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imsfs/imsfs/lazyload/source"
	"github.com/imsfs/imsfs/lazyload/source/pages"
)

// server serves one file, and lies as a test wants it.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	content  []byte
	etag     string
	requests atomic.Int64
	lie      func(w http.ResponseWriter, r *http.Request) bool // returns true if it has answered
}

func newServer(t *testing.T, size int) *server {
	t.Helper()
	s := &server{content: make([]byte, size), etag: `"v1"`}
	rng := rand.New(rand.NewPCG(1, uint64(size)))
	for i := range s.content {
		s.content[i] = byte(rng.Uint32())
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	s.mu.Lock()
	content, etag, lie := s.content, s.etag, s.lie
	s.mu.Unlock()
	if lie != nil && lie(w, r) {
		return
	}
	if etag != "" {
		w.Header().Set("ETag", etag)
	}
	http.ServeContent(w, r, "", time.Unix(1_700_000_000, 0), bytes.NewReader(content))
}

func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *server) at(t *testing.T, path string) source.Location { return location(t, s.URL+path) }

func location(t *testing.T, text string) source.Location {
	t.Helper()
	l, err := source.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func kind(t *testing.T, cfg Config) *Kind {
	t.Helper()
	if !cfg.Policy.Public && cfg.Policy.Prefixes == nil {
		cfg.Policy.Any = true
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	k := New(cfg)
	t.Cleanup(func() { k.Close() })
	return k
}

func open(t *testing.T, k *Kind, l source.Location) source.Object {
	t.Helper()
	o, err := k.Open(t.Context(), l)
	if err != nil {
		t.Fatalf("Open(%s): %v", l, err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

func TestReadsAgainstFlatBytes(t *testing.T) {
	for _, size := range []int{1, 1000, edge, edge + 1, 3<<20 + 7} {
		s := newServer(t, size)
		o := open(t, kind(t, Config{}), s.at(t, "/disk"))
		if o.Size() != int64(size) {
			t.Fatalf("a file of %d bytes has %d", size, o.Size())
		}
		rng := rand.New(rand.NewPCG(2, 2))
		for range 100 {
			off := rng.IntN(size)
			p := make([]byte, rng.IntN(min(size-off, 300_000))+1)
			if err := o.ReadAt(t.Context(), p, int64(off)); err != nil || !bytes.Equal(p, s.content[off:off+len(p)]) {
				t.Fatalf("size %d: ReadAt(%d, %d): %v or wrong bytes", size, off, len(p), err)
			}
		}
	}
}

func TestOpeningIsTwoRequests(t *testing.T) {
	s := newServer(t, 10<<20)
	o := open(t, kind(t, Config{}), s.at(t, "/disk"))
	for _, off := range []int64{0, edge - 512, 10<<20 - 512} {
		if err := o.ReadAt(t.Context(), make([]byte, 512), off); err != nil {
			t.Error(err)
		}
	}
	if n := s.requests.Load(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
	id := o.Identity()
	if id.Tag.Get(source.ETag) != "v1" || id.Size != 10<<20 || id.ModTime != 1_700_000_000e9 {
		t.Errorf("identity %+v", id)
	}
}

var (
	errNotExist   = iofs.ErrNotExist
	errPermission = iofs.ErrPermission
)

// lies are faults of single answers. A read is right in spite of them, if the next answer is right.
var lies = map[string]func(w http.ResponseWriter, r *http.Request){
	"503": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
	"429": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) },
	"416": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(416) },
	"gzip": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		answer206(w, r, 0, 0)
	},
	"offset off by four": func(w http.ResponseWriter, r *http.Request) { answer206(w, r, 4, 0) },
	"short body":         func(w http.ResponseWriter, r *http.Request) { answer206(w, r, 0, 100) },
	"200 for a range": func(w http.ResponseWriter, _ *http.Request) {
		w.Write(make([]byte, 1000)) // an error shows on the client's side
	},
	"multipart": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "multipart/byteranges; boundary=x")
		answer206(w, r, 0, 0)
	},
	"no range in a 206": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(206) },
	"connection cut": func(w http.ResponseWriter, _ *http.Request) {
		panic(http.ErrAbortHandler)
	},
}

// answer206 answers zeros for a range, shifted and cut.
func answer206(w http.ResponseWriter, r *http.Request, shift, cut int) {
	var from, to int
	fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
	w.Header().Set("ETag", `"v1"`)
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from+shift, to+shift, 3<<20))
	w.Header().Set("Content-Length", fmt.Sprint(to-from+1))
	w.WriteHeader(206)
	if n := to - from + 1 - cut; cut > 0 && n > 0 {
		w.Write(make([]byte, 0)) // the connection ends before the length
	}
}

func TestLyingAnswersAreNeverBytes(t *testing.T) {
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, 3<<20)
			o := open(t, kind(t, Config{}), s.at(t, "/disk"))
			var n atomic.Int64
			s.set(func() {
				s.lie = func(w http.ResponseWriter, r *http.Request) bool {
					if n.Add(1)%2 == 0 {
						return false
					}
					lie(w, r)
					return true
				}
			})
			for off := 1 << 20; off < 2<<20; off += 300_000 {
				p := make([]byte, 1000)
				if err := o.ReadAt(t.Context(), p, int64(off)); err != nil || !bytes.Equal(p, s.content[off:off+1000]) {
					t.Fatalf("ReadAt(%d): %v or wrong bytes", off, err)
				}
			}
		})
	}
}

func TestChangedSourceIsNeverMixed(t *testing.T) {
	for name, change := range map[string]func(s *server){
		"another ETag": func(s *server) { s.etag = `"v2"` },
		"grown":        func(s *server) { s.content = append(bytes.Clone(s.content), 1) },
		"another ETag without If-Match": func(s *server) {
			s.lie = func(w http.ResponseWriter, r *http.Request) bool {
				r.Header.Del("If-Match")
				w.Header().Set("ETag", `"v2"`)
				http.ServeContent(w, r, "", time.Unix(1_700_000_000, 0), bytes.NewReader(s.content))
				return true
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, 3<<20)
			o := open(t, kind(t, Config{}), s.at(t, "/disk"))
			content, etag := s.content, s.etag
			s.set(func() { change(s) })
			if err := o.ReadAt(t.Context(), make([]byte, 10), 1<<20); !errors.Is(err, source.ErrChanged) {
				t.Fatalf("%v, want source.ErrChanged", err)
			}
			s.set(func() { s.content, s.etag, s.lie = content, etag, nil })
			p := make([]byte, 10)
			if err := o.ReadAt(t.Context(), p, 1<<20); err != nil || !bytes.Equal(p, content[1<<20:1<<20+10]) {
				t.Errorf("after it came back: %v, a failure must not be remembered", err)
			}
		})
	}
}

func TestWithoutStrongETag(t *testing.T) {
	for etag, tag := range map[string]string{`W/"v1"`: "", "": ""} {
		s := newServer(t, 3<<20)
		s.etag = etag
		o := open(t, kind(t, Config{}), s.at(t, "/disk"))
		if id := o.Identity(); string(id.Tag) != tag || id.ModTime == 0 {
			t.Errorf("ETag %s: identity %+v", etag, id)
		}
		if err := o.ReadAt(t.Context(), make([]byte, 10), 1<<20); err != nil {
			t.Errorf("ETag %s: %v", etag, err)
		}
	}
}

func TestRefusedAtOpen(t *testing.T) {
	s := newServer(t, 1000)
	for name, c := range map[string]struct {
		lie func(w http.ResponseWriter, r *http.Request) bool
		is  error
	}{
		"no ranges": {func(w http.ResponseWriter, _ *http.Request) bool { w.Write(make([]byte, 10)); return true }, errors.ErrUnsupported},
		"missing":   {func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(404); return true }, errNotExist},
		"forbidden": {func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(403); return true }, errPermission},
		"redirects in a ring": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "/again", http.StatusFound)
			return true
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s.set(func() { s.lie = c.lie })
			_, err := kind(t, Config{Timeout: time.Second}).Open(t.Context(), s.at(t, "/disk"))
			if err == nil || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v, want %v", err, c.is)
			}
		})
	}
}

func TestServerThatIsDownIsUnavailable(t *testing.T) {
	s := newServer(t, 3<<20)
	o := open(t, kind(t, Config{Timeout: time.Second}), s.at(t, "/disk?secret=hidden"))
	s.Close()
	err := o.ReadAt(t.Context(), make([]byte, 10), 1<<20)
	if !errors.Is(err, source.ErrUnavailable) || strings.Contains(err.Error(), "hidden") {
		t.Errorf("%v, want source.ErrUnavailable without the query", err)
	}
}

func TestRedirectIsPinnedAndRenewed(t *testing.T) {
	s := newServer(t, 3<<20)
	var asked atomic.Int64
	valid := atomic.Int64{}
	s.lie = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/disk" {
			asked.Add(1)
			http.Redirect(w, r, fmt.Sprintf("/store?signature=%d", valid.Load()), http.StatusFound)
			return true
		}
		if r.URL.Query().Get("signature") != fmt.Sprint(valid.Load()) {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	}
	o := open(t, kind(t, Config{}), s.at(t, "/disk"))
	read := func(off int64) {
		t.Helper()
		p := make([]byte, 10)
		if err := o.ReadAt(t.Context(), p, off); err != nil || !bytes.Equal(p, s.content[off:off+10]) {
			t.Fatalf("ReadAt(%d): %v or wrong bytes", off, err)
		}
	}
	read(1 << 20)
	before := asked.Load()
	read(2 << 20)
	if n := asked.Load() - before; n != 0 {
		t.Errorf("%d requests were redirected again", n)
	}
	valid.Add(1)
	read(3<<20 - 2*edge)
	if n := asked.Load() - before; n != 1 {
		t.Errorf("%d requests to renew what expired, want 1", n)
	}
}

func TestPrivateCA(t *testing.T) {
	s := &server{content: make([]byte, 100_000), etag: `"v1"`}
	tls := httptest.NewTLSServer(s)
	t.Cleanup(tls.Close)
	roots := x509.NewCertPool()
	roots.AddCert(tls.Certificate())
	open(t, kind(t, Config{RootCAs: roots}), location(t, tls.URL+"/disk"))
	begun := time.Now()
	if _, err := kind(t, Config{}).Open(t.Context(), location(t, tls.URL+"/disk")); err == nil || time.Since(begun) > 2*time.Second {
		t.Errorf("a certificate of an unknown authority: %v after %v, want an error at once", err, time.Since(begun))
	}
}

func TestNeighbours(t *testing.T) {
	s := newServer(t, 1000)
	k := kind(t, Config{})
	d, err := k.Directory(t.Context(), s.at(t, "/images/disk?secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, name := range []source.Name{"/etc/passwd", "../x", ".."} {
		if _, err := d.Find(t.Context(), name); !errors.Is(err, errPermission) {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	n, err := d.Find(t.Context(), "base")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Exists(t.Context()); err != nil {
		t.Error(err)
	}
	o, err := n.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
}

func TestDemandDoesNotWaitForBackground(t *testing.T) {
	s := newServer(t, 32<<20)
	gate := make(chan struct{})
	open1 := sync.OnceFunc(func() { close(gate) })
	defer open1()
	o := open(t, kind(t, Config{Cache: pages.NewCache(256 << 20), Timeout: 30 * time.Second}), s.at(t, "/disk"))
	s.set(func() {
		s.lie = func(_ http.ResponseWriter, r *http.Request) bool {
			var from, to int
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
			if to-from > 2<<20 {
				<-gate
			}
			return false
		}
	})
	var background sync.WaitGroup
	for i := range 3 {
		background.Go(func() {
			ctx := source.WithClass(context.Background(), source.Hydrate)
			if err := o.ReadAt(ctx, make([]byte, 8<<20), int64(i)*8<<20); err != nil {
				t.Error(err)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := o.ReadAt(ctx, make([]byte, 100), 30<<20); err != nil {
		t.Errorf("a demand read while background requests hang: %v", err)
	}
	open1()
	background.Wait()
}
