package job

import (
	"context"
	"fmt"
	iofs "io/fs"
	"sync"

	"github.com/imsfs/imsfs/lifecycle/command"
)

// Slot is the place of the jobs of one target. The zero value is an empty slot. It is safe for
// concurrent use.
type Slot struct {
	// Ended, unless nil, is called with the outcome of each job before it shows as ended.
	Ended func(verb string, err error)

	mu      sync.Mutex
	latest  *Job   // nil if there was none since the start
	claimed string // the verb that has a claim, "" if none has
	failure string // of the latest command, or of its job
}

// Claim is one verb's hold on a slot.
type Claim struct {
	slot *Slot
	verb string
	over bool // it was started or released; guarded by slot.mu
}

// Claim takes the slot for a verb. ErrBusy: a job runs, or another verb has a claim.
func (s *Slot) Claim(verb string) (*Claim, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	running := s.claimed
	if s.latest != nil && !s.latest.over() {
		running = s.latest.verb
	}
	if running != "" {
		return nil, command.Refuse(command.ErrBusy, "%s is still running: wait for it, or cancel it", running)
	}
	s.claimed = verb
	return &Claim{slot: s, verb: verb}, nil
}

// Release gives the slot back. After a start, or a second time, it does nothing.
func (c *Claim) Release() {
	c.slot.mu.Lock()
	defer c.slot.mu.Unlock()
	c.release()
}

func (c *Claim) release() {
	if !c.over {
		c.over, c.slot.claimed = true, ""
	}
}

// Cancel ends the running job as soon as it can. EINVAL: there is none.
func (s *Slot) Cancel() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest == nil || s.latest.over() {
		return command.Refuse(iofs.ErrInvalid, "no job is running")
	}
	s.latest.cancel()
	return nil
}

// CancelAny ends the running job, if there is one.
func (s *Slot) CancelAny() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest != nil {
		s.latest.cancel()
	}
}

// Line returns the line of the latest job, "" if there was none since the start.
func (s *Slot) Line() string {
	s.mu.Lock()
	j := s.latest
	s.mu.Unlock()
	if j == nil {
		return ""
	}
	return j.line()
}

// Wait returns the outcome of the latest job once it has ended; nil if there was none. ctx bounds
// the waiting.
func (s *Slot) Wait(ctx context.Context) error {
	s.mu.Lock()
	j := s.latest
	s.mu.Unlock()
	if j == nil {
		return nil
	}
	select {
	case <-j.done:
		return j.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Busy reports whether a job runs or a verb has a claim.
func (s *Slot) Busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claimed != "" || s.latest != nil && !s.latest.over()
}

// LastError returns the sentence of the latest command, or of its job that failed since; "" if all
// went well.
func (s *Slot) LastError() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// SetError replaces what LastError returns; nil clears it.
func (s *Slot) SetError(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = command.Sentence(err)
}

func (s *Slot) begin(j *Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest = j
}

// ended notes a job's outcome.
func (s *Slot) ended(verb string, err error) {
	if err != nil {
		s.SetError(fmt.Errorf("%s: %w", verb, err))
	}
	if s.Ended != nil {
		s.Ended(verb, err)
	}
}
