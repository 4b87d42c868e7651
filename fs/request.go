package fs

import (
	"context"
	"errors"
	iofs "io/fs"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// request is the ctx of a request that ends when its caller is being killed, and not before.
//
// The FUSE library ends a ctx when the caller gets any signal. A signal does not mean that the
// caller wants to stop: runtimes and terminals send signals all the time, and few programs expect
// EINTR of a file. One that writes a command again finds the first one in its way. A caller that is
// being killed is another matter: it cannot end before it has its answer, and nothing reads that.
//
// The caller is watched from the first call of Done on, so a request that never waits costs no
// more than its memory.
type request struct {
	library context.Context
	killed  atomic.Bool

	mu    sync.Mutex    // guards the following
	done  chan struct{} // nil before the first Done
	over  chan struct{} // closed by end; nil before the first Done
	ended bool
}

var _ context.Context = (*request)(nil)

// patient returns the ctx for a request. end must be called when the request is answered: the
// library uses its own ctx again for another one.
func patient(ctx context.Context) *request { return &request{library: ctx} }

func (r *request) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over != nil && !r.ended {
		close(r.over)
	}
	r.ended = true
}

// Deadline returns that there is none.
func (r *request) Deadline() (time.Time, bool) { return time.Time{}, false }

func (r *request) Value(key any) any { return r.library.Value(key) }

func (r *request) Err() error {
	if r.killed.Load() {
		return context.Canceled
	}
	return nil
}

func (r *request) Done() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil && !r.ended {
		r.done, r.over = make(chan struct{}), make(chan struct{})
		go r.watch(r.library.Done(), actor(r.library).PID, r.done, r.over)
	}
	return r.done
}

// lookAgain is how often a caller that got a signal is looked at. The kernel tells of the first
// signal of a request only.
const lookAgain = 100 * time.Millisecond

// watch closes done when the caller is being killed.
func (r *request) watch(signal <-chan struct{}, thread uint32, done, over chan struct{}) {
	select {
	case <-signal:
	case <-over:
		return
	}
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for !dying(thread) {
		select {
		case <-again.C:
		case <-over:
			return
		}
	}
	r.killed.Store(true)
	close(done)
}

// dying reports whether a signal is pending that will end a thread: a SIGKILL, which the kernel
// gives to every thread of a process that it ends, or one that it has not looked at yet because
// another signal is pending before it.
func dying(thread uint32) bool {
	if thread == 0 {
		return false // it cannot be seen from here
	}
	s, err := procStatus(thread)
	if err != nil {
		return errors.Is(err, iofs.ErrNotExist)
	}
	own, shared := s.number("SigPnd:", 16), s.number("ShdPnd:", 16)
	handled := s.number("SigBlk:", 16) | s.number("SigIgn:", 16) | s.number("SigCgt:", 16) | harmless()
	return (own|shared)&^handled != 0
}

// harmless is the set of signals that end no process by default.
func harmless() uint64 {
	var set uint64
	for _, s := range []unix.Signal{unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH,
		unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU} {
		set |= 1 << (s - 1)
	}
	return set
}
