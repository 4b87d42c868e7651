package http

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/time/rate"

	"github.com/imsfs/imsfs/lazyload/source"
)

// isCertificate reports whether a server could not prove who it is.
func isCertificate(err error) bool {
	var c *tls.CertificateVerificationError
	return errors.As(err, &c)
}

const (
	firstTurns = 8
	mostTurns  = connections - 2 // the others are free for demand reads
	failures   = 5               // in a row, until a host is taken to be down
)

// turns bounds background requests. Their number grows while answers come, and is halved when a
// server asks for less. Demand reads take no turn.
type turns struct {
	mu      sync.Mutex // guards the following
	most    float64
	running int
	queue   []chan struct{} // of waiting requests; closed when its turn comes
	hosts   map[string]*host
}

// host counts the failures of one host.
type host struct {
	failed int           // requests in a row; guarded by turns.mu
	probes *rate.Limiter // one request a second while the host is down
}

func newTurns() *turns { return &turns{most: firstTurns, hosts: map[string]*host{}} }

func (t *turns) host(name string) *host {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.hosts[name]
	if h == nil {
		h = &host{probes: rate.NewLimiter(1, 1)}
		t.hosts[name] = h
	}
	return h
}

// begin waits until a request may be made, and returns what must be called with its outcome. A
// background request to a host that is down fails at once; a demand read waits to be the next probe.
func (t *turns) begin(ctx context.Context, h *host, class source.Class, urgent <-chan struct{}) (release func(error), err error) {
	t.mu.Lock()
	down := h.failed >= failures
	t.mu.Unlock()
	if down {
		if class == source.Hydrate && !h.probes.Allow() {
			return nil, fmt.Errorf("the host does not answer: %w", source.ErrUnavailable)
		}
		if err := h.probes.Wait(ctx); err != nil {
			return nil, fmt.Errorf("the host does not answer: %w", err)
		}
	}
	taken := false
	if class != source.Demand {
		if taken, err = t.take(ctx, urgent); err != nil {
			return nil, err
		}
	}
	return func(err error) { t.end(h, taken, err) }, nil
}

// take waits for a turn. A request that becomes urgent goes without one.
func (t *turns) take(ctx context.Context, urgent <-chan struct{}) (taken bool, err error) {
	t.mu.Lock()
	if t.running < int(t.most) {
		t.running++
		t.mu.Unlock()
		return true, nil
	}
	turn := make(chan struct{})
	t.queue = append(t.queue, turn)
	t.mu.Unlock()
	select {
	case <-turn:
		return true, nil
	case <-urgent:
	case <-ctx.Done():
		err = ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, q := range t.queue {
		if q == turn {
			t.queue = append(t.queue[:i], t.queue[i+1:]...)
			return false, err
		}
	}
	t.running-- // the turn came at the same time
	t.next()
	return false, err
}

// next gives free turns to the requests that wait. The caller holds mu.
func (t *turns) next() {
	for len(t.queue) > 0 && t.running < int(t.most) {
		t.running++
		close(t.queue[0])
		t.queue = t.queue[1:]
	}
}

func (t *turns) end(h *host, taken bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		h.failed = 0
		t.most = min(t.most+1/t.most, mostTurns)
	case !isPermanent(err) && !errors.Is(err, context.Canceled):
		h.failed++
	}
	if taken {
		t.running--
		t.next()
	}
}

// halve lowers the number of background requests: a server has asked for less.
func (t *turns) halve() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.most = max(t.most/2, 1)
}
