package lifecycle

import (
	"context"
	"sync"
	"time"

	"github.com/imsfs/imsfs/lazyload/overlay"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/pool"
)

// use counts the processes that have a volume's disk open.
type use struct {
	turn chan struct{} // holds a token while the disk is opened, closed or changed

	mu      sync.Mutex // guards the following
	disk    *overlay.Disk
	base    *pool.Handle // the disk below the deltas, nil if there is none
	handles int
	writers map[command.Process]int // handles for writing
	// deltaBytes is the size of the deltas when the disk was closed; less than 0: not known yet.
	deltaBytes int64
	changed    chan struct{} // closed and made anew when a handle is given back
}

func newUse() use {
	return use{turn: make(chan struct{}, 1), writers: map[command.Process]int{}, deltaBytes: -1, changed: make(chan struct{})}
}

// admits reports whether a process may open the disk for writing: one at a time may, as often as it
// likes, unless the volume is shared; the caller holds mu.
func (u *use) admits(by command.Process, shared bool) bool {
	for writer := range u.writers {
		if !writer.Same(by) {
			return shared
		}
	}
	return true
}

// lag is how long the kernel may take to report a close after the closing process went on.
const lag = time.Second

// take waits for the turn; giveTurn ends it.
func (u *use) take(ctx context.Context) error {
	select {
	case u.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (u *use) giveTurn() { <-u.turn }

// await waits for a condition on the counts, at most for lag, and reports whether it holds.
func (u *use) await(ctx context.Context, holds func() bool) bool {
	timer := time.NewTimer(lag)
	defer timer.Stop()
	for {
		u.mu.Lock()
		ok, changed := holds(), u.changed
		u.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}
