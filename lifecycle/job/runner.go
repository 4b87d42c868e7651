package job

import (
	"context"
	iofs "io/fs"
	"sync"
	"time"

	"github.com/imsfs/imsfs/lifecycle/command"
)

// Runner runs jobs, and other work in the background, until it is closed.
type Runner struct {
	now    func() time.Time
	ctx    context.Context // of all jobs; ends with the runner
	cancel context.CancelFunc

	mu      sync.Mutex
	closed  bool
	running int           // work under way
	lasting int           // of that, what goes on until the runner is closed
	idle    chan struct{} // closed when the runner is closed and nothing is under way
}

// New returns a runner whose jobs have the values of ctx, and no deadline.
func New(ctx context.Context, now func() time.Time) *Runner {
	r := &Runner{now: now, idle: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return r
}

// Context ends when the runner is closed.
func (r *Runner) Context() context.Context { return r.ctx }

// Closing reports whether Close was called: a job that ends then was not cancelled on its own.
func (r *Runner) Closing() bool { return r.ctx.Err() != nil }

// Close cancels everything that runs and waits for it, at most until ctx ends: work that hangs in
// another system is abandoned, and is the error. Nothing can be started from then on.
func (r *Runner) Close(ctx context.Context) error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		if r.running == 0 {
			close(r.idle)
		}
	}
	r.mu.Unlock()
	r.cancel()
	select {
	case <-r.idle:
		return nil
	case <-ctx.Done():
		r.mu.Lock()
		defer r.mu.Unlock()
		return command.Refuse(ctx.Err(), "%d pieces of work do not end: they wait for a source or a destination", r.running)
	}
}

// Attend runs work in the background that goes on until the runner's context ends.
func (r *Runner) Attend(work func(context.Context)) {
	r.mu.Lock()
	r.lasting++
	r.mu.Unlock()
	r.Go(func() { work(r.ctx) })
}

// Busy returns how much work is under way that ends by itself.
func (r *Runner) Busy() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.running - r.lasting
}

// Go runs work in the background. It reports false, and does nothing, once the runner is closed.
func (r *Runner) Go(work func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.running++
	go func() {
		defer r.done()
		work()
	}()
	return true
}

func (r *Runner) done() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running--; r.running == 0 && r.closed {
		close(r.idle)
	}
}

// Start makes a job of a claim and runs it.
func (r *Runner) Start(c *Claim, work func(context.Context, *Job) error) (*Job, error) {
	return r.start(c, func(ctx context.Context, j *Job) error {
		j.Begin()
		return work(ctx, j)
	})
}

// Queue is Start for a job that calls Begin itself, when its turn has come.
func (r *Runner) Queue(c *Claim, work func(context.Context, *Job) error) (*Job, error) {
	return r.start(c, work)
}

func (r *Runner) start(c *Claim, work func(context.Context, *Job) error) (*Job, error) {
	defer c.Release()
	ctx, cancel := context.WithCancel(r.ctx)
	j := &Job{verb: c.verb, now: r.now, cancel: cancel, done: make(chan struct{}), phase: "QUEUED"}
	c.slot.begin(j)
	started := r.Go(func() {
		defer cancel()
		err := work(ctx, j)
		c.slot.ended(c.verb, err)
		j.end(err)
	})
	if !started {
		cancel()
		err := command.Refuse(iofs.ErrClosed, "the store is being closed")
		j.end(err)
		return nil, err
	}
	return j, nil
}
