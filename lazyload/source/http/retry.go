package http

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/imsfs/imsfs/lazyload/source"
)

// permanent is an error that no further request would change.
type permanent struct{ error }

func (p *permanent) Unwrap() error { return p.error }

// passing is an error that may pass. after is how long the server asks to wait.
type passing struct {
	err   error
	after time.Duration
}

func (p *passing) Error() string { return p.err.Error() }
func (p *passing) Unwrap() error { return p.err }

// Waits between two tries of one range.
const (
	firstWait = 100 * time.Millisecond
	mostWait  = 10 * time.Second
)

// retry tries a request until it succeeds, cannot succeed, or its time is over. An error that may
// pass is source.ErrUnavailable when the time is over. Nothing is remembered of a failure but by the
// host's circuit.
func (o *object) retry(ctx context.Context, class source.Class, urgent <-chan struct{}, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, o.kind.cfg.Timeout)
	defer cancel()
	host := o.kind.turns.host(o.at.Host)
	var last error
	attempt := func() (struct{}, error) {
		release, err := o.kind.turns.begin(ctx, host, class, urgent)
		if err != nil {
			return struct{}{}, backoff.Permanent(err)
		}
		err = try(ctx)
		release(err)
		if err == nil {
			return struct{}{}, nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		switch p := (*passing)(nil); {
		case isPermanent(err):
			return struct{}{}, backoff.Permanent(err)
		case errors.As(err, &p) && p.after > 0:
			return struct{}{}, &backoff.RetryAfterError{Duration: p.after}
		}
		return struct{}{}, err
	}
	waits := backoff.NewExponentialBackOff()
	waits.InitialInterval, waits.MaxInterval, waits.RandomizationFactor = firstWait, mostWait, 1
	_, err := backoff.Retry(ctx, attempt, backoff.WithBackOff(waits), backoff.WithMaxElapsedTime(o.kind.cfg.Timeout))
	switch {
	case err == nil:
		return nil
	case last == nil:
		last = err
	}
	if isPermanent(last) || errors.Is(last, errors.ErrUnsupported) {
		return last
	}
	return fmt.Errorf("%w: %w", source.ErrUnavailable, last)
}

func isPermanent(err error) bool {
	var p *permanent
	return errors.As(err, &p) || errors.Is(err, iofs.ErrPermission) || isCertificate(err)
}
