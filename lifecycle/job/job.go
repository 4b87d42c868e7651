// Package job runs work that outlives the command which began it.
//
// A Runner runs the jobs of one store and ends them all. A Slot belongs to one image, volume or
// store, and holds its latest job: one at a time, others are refused. A verb that must have the
// slot for itself takes a Claim, changes its records, and then starts the job, or releases the
// claim.
//
// A job ends as one line of text (docs/control-files.md, "Jobs"), which stays until the next job.
package job

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/imsfs/imsfs/lifecycle/command"
)

// ErrCancelled is the outcome of a job that was ended by a command, or by the end of the daemon.
var ErrCancelled = errors.New("it was cancelled")

// Job is the work of one verb. It is safe for concurrent use.
type Job struct {
	verb   string
	now    func() time.Time
	cancel context.CancelFunc
	done   chan struct{} // closed by end

	mu      sync.Mutex
	phase   string // QUEUED, RUNNING, DONE, FAILED, CANCELLED
	started time.Time
	share   float64 // of the work that is done, 0 to 1
	bytes   int64   // done since it started
	err     error
}

// Done returns a channel that is closed when the job has ended.
func (j *Job) Done() <-chan struct{} { return j.done }

// Err returns the outcome of a job that has ended.
func (j *Job) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// Begin marks a job as running that was queued until now.
func (j *Job) Begin() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.phase, j.started = "RUNNING", j.now()
}

// Progress notes the share of the work that is done, 0 to 1, and its bytes if it is work on bytes.
func (j *Job) Progress(share float64, bytes int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.share, j.bytes = min(max(share, 0), 1), bytes
}

// Share returns the share of work of which so much is done, for Progress.
func Share(done, total int64) float64 { return float64(done) / float64(max(total, 1)) }

func (j *Job) end(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.phase, j.err = "FAILED", err
	switch {
	case err == nil:
		j.phase, j.share = "DONE", 1
	case errors.Is(err, context.Canceled):
		j.phase, j.err = "CANCELLED", ErrCancelled
	}
	close(j.done)
}

func (j *Job) over() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// line is PHASE SHARE RATE VERB, then the seconds that are left while they can be told, or the
// sentence of a failure.
func (j *Job) line() string {
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
		line += ": " + command.Sentence(j.err)
	}
	return line
}
