package job

import (
	"context"
	"errors"
	iofs "io/fs"
	"strings"
	"testing"
	"time"

	"github.com/imsfs/imsfs/lifecycle/command"
)

func TestJobLine(t *testing.T) {
	now := time.Unix(1000, 0)
	j := &Job{verb: "export", now: func() time.Time { return now }, done: make(chan struct{}), phase: "QUEUED"}
	check := func(want string) {
		t.Helper()
		if got := j.line(); got != want {
			t.Errorf("line %q, want %q", got, want)
		}
	}
	check("QUEUED 0.00 - export")
	now = now.Add(time.Hour) // waiting does not count
	j.Begin()
	check("RUNNING 0.00 - export")
	now = now.Add(2 * time.Second)
	j.Progress(0.4, 25<<20)
	check("RUNNING 0.40 12.5MiB/s export 3s")
	j.end(errors.New("no\nspace"))
	check("FAILED 0.40 - export: no space")
}

func TestSlot(t *testing.T) {
	work := func(let chan error) func(context.Context, *Job) error {
		return func(ctx context.Context, _ *Job) error {
			select {
			case err := <-let:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	start := func(t *testing.T, s *Slot, let chan error) *Runner {
		t.Helper()
		r := New(t.Context(), time.Now)
		c, err := s.Claim("load")
		if err == nil {
			_, err = r.Start(c, work(let))
		}
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	t.Run("takes one job at a time", func(t *testing.T) {
		var s Slot
		let := make(chan error)
		r := start(t, &s, let)
		if _, err := s.Claim("other"); !errors.Is(err, command.ErrBusy) || !strings.Contains(err.Error(), "load is still running") {
			t.Errorf("second claim: %v", err)
		}
		let <- nil
		if err := s.Wait(t.Context()); err != nil || s.Busy() {
			t.Errorf("outcome %v, busy %v", err, s.Busy())
		}
		c, err := s.Claim("other")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Claim("third"); !errors.Is(err, command.ErrBusy) {
			t.Errorf("claim beside a claim: %v", err)
		}
		c.Release()
		c.Release()
		if s.Busy() || !strings.HasPrefix(s.Line(), "DONE") {
			t.Errorf("after the release: busy %v, line %q", s.Busy(), s.Line())
		}
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("keeps the failure of a job", func(t *testing.T) {
		var s Slot
		ended := ""
		s.Ended = func(verb string, err error) { ended = verb + " " + err.Error() }
		let := make(chan error, 1)
		let <- errors.New("it broke")
		start(t, &s, let)
		if err := s.Wait(t.Context()); err == nil || s.LastError() != "load: it broke" || ended != "load it broke" {
			t.Errorf("outcome %v, last error %q, ended %q", err, s.LastError(), ended)
		}
	})
	t.Run("refuses cancel without a job as a wrong argument", func(t *testing.T) {
		var s Slot
		if err := s.Cancel(); !errors.Is(err, iofs.ErrInvalid) || errors.Is(err, command.ErrBusy) {
			t.Errorf("Cancel = %v", err)
		}
		let := make(chan error)
		start(t, &s, let)
		if err := s.Cancel(); err != nil {
			t.Error(err)
		}
		if err := s.Wait(t.Context()); !errors.Is(err, ErrCancelled) {
			t.Errorf("outcome %v", err)
		}
		if err := s.Cancel(); !errors.Is(err, iofs.ErrInvalid) {
			t.Errorf("Cancel after the end = %v", err)
		}
	})
}

func TestRunnerClose(t *testing.T) {
	t.Run("leaves behind what hangs", func(t *testing.T) {
		r := New(t.Context(), time.Now)
		let := make(chan struct{})
		r.Go(func() { <-let })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Close(ctx); err == nil || !strings.Contains(err.Error(), "1 pieces of work") {
			t.Errorf("Close = %v", err)
		}
		close(let)
		if err := r.Close(t.Context()); err != nil {
			t.Errorf("second Close = %v", err)
		}
	})
	t.Run("starts nothing any more", func(t *testing.T) {
		r := New(t.Context(), time.Now)
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		var s Slot
		c, err := s.Claim("load")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Start(c, func(context.Context, *Job) error { return nil }); !errors.Is(err, iofs.ErrClosed) || s.Busy() {
			t.Errorf("Start = %v, busy %v", err, s.Busy())
		}
	})
}
