package lifecycle

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// job is the work of one verb on one image. Who runs it tells how far it is; who is asked shows that as a line.
type job struct {
	verb   string
	now    func() time.Time
	cancel context.CancelFunc
	done   chan struct{} // closed by end

	// attended tells that the command which started it still waits and will be told the outcome. Guarded by
	// Registry.changes.
	attended bool

	mu      sync.Mutex
	phase   string // QUEUED, RUNNING, DONE, FAILED
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
	if err == nil {
		j.phase, j.share = "DONE", 1
	}
	close(j.done)
}

// outcome is the error of a job that has ended.
func (j *job) outcome() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// line is the job's file: PHASE SHARE RATE VERB, and the sentence if it failed.
func (j *job) line() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	rate := "-"
	if elapsed := j.now().Sub(j.started).Seconds(); j.phase == "RUNNING" && j.bytes > 0 && elapsed > 0 {
		rate = fmt.Sprintf("%.1fMiB/s", float64(j.bytes)/(1<<20)/elapsed)
	}
	line := fmt.Sprintf("%s %.2f %s %s", j.phase, j.share, rate, j.verb)
	if j.err != nil {
		line += ": " + sentence(j.err)
	}
	return line
}
