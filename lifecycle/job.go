package lifecycle

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"sync"
	"time"
)

// job is the work of one verb on one image, or on the store. Who runs it tells how far it is; who is asked shows that as a line.
type job struct {
	verb   string
	now    func() time.Time
	cancel context.CancelFunc
	done   chan struct{} // closed by end

	// attended tells that the command which started it still waits and will be told the outcome. Guarded by
	// Registry.changes.
	attended bool

	mu      sync.Mutex
	phase   string // QUEUED, RUNNING, DONE, FAILED, CANCELLED
	started time.Time
	share   float64 // of the work that is done, 0 to 1
	bytes   int64   // done since it started
	err     error
}

func newJob(verb string, now func() time.Time, cancel context.CancelFunc) *job {
	return &job{verb: verb, now: now, cancel: cancel, done: make(chan struct{}), phase: "QUEUED"}
}

func (j *job) begin() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.phase, j.started = "RUNNING", j.now()
}

// progress tells the share of the work that is done, and the bytes if it is work on bytes.
func (j *job) progress(share float64, bytes int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.share, j.bytes = min(max(share, 0), 1), bytes
}

// end is called once.
func (j *job) end(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.phase, j.err = "FAILED", err
	switch {
	case err == nil:
		j.phase, j.share = "DONE", 1
	case errors.Is(err, context.Canceled):
		j.phase, j.err = "CANCELLED", errCancelled
	}
	close(j.done)
}

// outcome is the error of a job that has ended.
func (j *job) outcome() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// errCancelled is the outcome of a job that was ended by people, or by the daemon's end.
var errCancelled = errors.New("it was cancelled")

// over tells whether it has ended.
func (j *job) over() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// line is the job's file: PHASE SHARE RATE VERB, then how many seconds are left while that can be told, or the sentence if it
// failed.
func (j *job) line() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	rate, left := "-", ""
	if elapsed := j.now().Sub(j.started).Seconds(); j.phase == "RUNNING" && elapsed > 0 {
		if j.bytes > 0 {
			rate = fmt.Sprintf("%.1fMiB/s", float64(j.bytes)/(1<<20)/elapsed)
		}
		if j.share > 0 {
			left = fmt.Sprintf(" %.0fs", elapsed*(1-j.share)/j.share)
		}
	}
	line := fmt.Sprintf("%s %.2f %s %s%s", j.phase, j.share, rate, j.verb, left)
	if j.err != nil {
		line += ": " + sentence(j.err)
	}
	return line
}

// launch starts the work of a verb, unless the job before it still runs; the caller holds changes.
func (r *Registry) launch(at **job, verb string, work func(context.Context, *job) error) error {
	if r.closed {
		return refuse(iofs.ErrClosed, "the store is being closed")
	}
	if err := r.idle(r.jobAt(at)); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.ctx)
	j := newJob(verb, r.cfg.Now, cancel)
	r.mu.Lock()
	*at = j
	r.mu.Unlock()
	r.jobs.Go(func() {
		defer cancel()
		j.begin()
		j.end(work(ctx, j))
	})
	return nil
}

// idle refuses what must wait for a job.
func (r *Registry) idle(j *job) error {
	if j != nil && !j.over() {
		return refuse(ErrBusy, "%s is still running: wait for it, or say cancel", j.verb)
	}
	return nil
}

func (r *Registry) jobAt(at **job) *job {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return *at
}

// cancelJob ends a job as soon as it can be.
func cancelJob(j *job) error {
	if j == nil || j.over() {
		return refuse(ErrBusy, "no job is running")
	}
	j.cancel()
	return nil
}
