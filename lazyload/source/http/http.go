// Package http opens sources on web servers that answer requests for ranges (HTTP/1.1).
//
//	http.go      the kind: opening, and neighbours by relative URL
//	object.go    an open source, and its identity
//	request.go   one request: deadlines, redirects, and the checks of an answer
//	retry.go     which failures may pass, and how long they are waited for
//	turns.go     how many background requests run at once; hosts that are down
//	policy.go    which hosts may be fetched from
//
// A server is not trusted: an answer that is not exactly the range of exactly the state that was
// opened is an error, never bytes.
package http

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/imsfs/imsfs/lazyload/source"
	"github.com/imsfs/imsfs/lazyload/source/pages"
)

var _ source.Kind = (*Kind)(nil)

// Config is how a Kind fetches. Policy must be set; for the rest the zero value is usable.
type Config struct {
	Policy Policy
	Cache  *pages.Cache // shared by all sources; nil is a new one
	// Timeout is how long a read is tried before it fails; 0 is a minute.
	Timeout time.Duration
	RootCAs *x509.CertPool                        // nil are the system's
	Proxy   func(*http.Request) (*url.URL, error) // nil is none
	Now     func() time.Time                      // nil is time.Now
}

// How long the phases of one request may take.
const (
	connectTime = 5 * time.Second
	answerTime  = 10 * time.Second // until the first byte of the answer
	stallTime   = 10 * time.Second // without a byte of the body
	totalTime   = time.Minute
	connections = 16 // that are kept to one host
	keepAlive   = 90 * time.Second
)

// Kind opens sources by http and https.
type Kind struct {
	cfg    Config
	client *http.Client
	turns  *turns

	mu    sync.Mutex // guards the following
	known map[source.Location]sighting
}

// sighting is an identity that was seen at a time.
type sighting struct {
	id source.Identity
	at time.Time
}

// New returns a kind. Close it after all sources.
func New(cfg Config) *Kind {
	if cfg.Cache == nil {
		cfg.Cache = pages.NewCache(0)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = totalTime
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	k := &Kind{cfg: cfg, turns: newTurns(), known: map[source.Location]sighting{}}
	k.client = &http.Client{
		CheckRedirect: k.checkRedirect,
		Transport: &http.Transport{
			Proxy:                 cfg.Proxy,
			DialContext:           k.dial,
			TLSClientConfig:       &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:   connectTime,
			ResponseHeaderTimeout: answerTime,
			IdleConnTimeout:       keepAlive,
			MaxIdleConnsPerHost:   connections,
			DisableCompression:    true, // a range of compressed bytes is not a range of the source
			// HTTP/2 has one connection to a host, which carries less than several of HTTP/1.1.
			TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
		},
	}
	return k
}

// Close closes idle connections.
func (k *Kind) Close() error {
	k.client.CloseIdleConnections()
	return nil
}

// Schemes implements source.Kind.
func (*Kind) Schemes() []string { return []string{"https", "http"} }

// Open implements source.Kind. It makes two requests at once: for the first bytes and for the last.
func (k *Kind) Open(ctx context.Context, l source.Location) (source.Object, error) {
	o, err := k.open(ctx, l)
	if err != nil {
		return nil, err // not a nil *object
	}
	k.remember(l, o.id)
	return o, nil
}

// Identify implements source.Kind. An identity that was seen within seconds is not asked for again,
// so that looking at many images is not a request each.
func (k *Kind) Identify(ctx context.Context, l source.Location) (source.Identity, error) {
	const fresh = 5 * time.Second
	k.mu.Lock()
	s, ok := k.known[l]
	k.mu.Unlock()
	if ok && k.cfg.Now().Sub(s.at) < fresh {
		return s.id, nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	o := &object{kind: k, at: l}
	if _, err := o.first(ctx, 1); err != nil {
		return source.Identity{}, err
	}
	k.remember(l, o.id)
	return o.id, nil
}

func (k *Kind) remember(l source.Location, id source.Identity) {
	const most = 10_000
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.known) >= most {
		clear(k.known)
	}
	k.known[l] = sighting{id, k.cfg.Now()}
}

func (k *Kind) forget(l source.Location) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.known, l)
}

// Directory implements source.Kind.
func (k *Kind) Directory(_ context.Context, l source.Location) (source.Directory, error) {
	return directory{k, l.Dir()}, nil
}

// directory is what lies beside a source on its server.
type directory struct {
	kind *Kind
	at   source.Location
}

// Find implements source.Directory. A name stays on the host and in the directory.
func (d directory) Find(_ context.Context, name source.Name) (source.Neighbour, error) {
	if !name.IsLocal() {
		return nil, source.Refuse("%w", errElsewhere)
	}
	return neighbour{d.kind, d.at.Join(string(name))}, nil
}

var errElsewhere = errors.New("in an image on a server, only a relative path without \"..\" is followed")

// Close implements source.Directory.
func (directory) Close() error { return nil }

type neighbour struct {
	kind *Kind
	at   source.Location
}

func (n neighbour) Exists(ctx context.Context) error {
	_, err := n.kind.Identify(ctx, n.at)
	return err
}

func (n neighbour) Open(ctx context.Context) (source.Object, error) { return n.kind.Open(ctx, n.at) }

func (n neighbour) Directory(ctx context.Context) (source.Directory, error) {
	return n.kind.Directory(ctx, n.at)
}

// dial connects to a host if policy permits the address that is dialled, so that neither a redirect
// nor a name server that changes its mind leads elsewhere.
func (k *Kind) dial(ctx context.Context, network, address string) (net.Conn, error) {
	listed := k.cfg.Proxy != nil || k.cfg.Policy.lists(address)
	d := net.Dialer{Timeout: connectTime, Control: k.cfg.Policy.control(listed)}
	return d.DialContext(ctx, network, address)
}
