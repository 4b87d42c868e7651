package lifecycle

import (
	"context"
	"errors"
	iofs "io/fs"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imsfs/imsfs/blockstore/kv"
)

// gated is a house whose format opens nothing until it is let; the test runs in a bubble of its own time.
func gated(t *testing.T, test func(t *testing.T, h *house, let chan error)) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{t: t, dir: t.TempDir(), sources: t.TempDir()}
		let := make(chan error)
		h.driver.gate = func(ctx context.Context) error {
			select {
			case err := <-let:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		h.open()
		defer h.close()
		test(t, h, let)
	})
}

func TestRegisterThatLastsGoesOnAlone(t *testing.T) {
	for _, c := range []struct {
		name    string
		outcome error
		state   State
		job     string
	}{
		{"well", nil, Active, "DONE 1.00 - register"},
		{"badly", errors.New("it is broken"), Killed, "FAILED 0.00 - register: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			gated(t, func(t *testing.T, h *house, let chan error) {
				begun := time.Now()
				h.do(h, "register", "a", h.source("a", "hello"))
				if took := time.Since(begun); took != patience {
					t.Errorf("waited %s, want %s", took, patience)
				}
				img := h.image("a")
				if img.State() != Saving || img.Job() != "RUNNING 0.00 - register" {
					t.Errorf("state %s, job %q", img.State(), img.Job())
				}
				if _, err := img.Open(t.Context()); !errors.Is(err, ErrBusy) || !errors.Is(err, syscall.EBUSY) {
					t.Errorf("Open = %v", err)
				}
				if err := img.Do(t.Context(), "rename b"); !errors.Is(err, ErrBusy) {
					t.Errorf("rename = %v", err)
				}
				let <- c.outcome
				synctest.Wait()
				if img.State() != c.state || !strings.HasPrefix(img.Job(), c.job) {
					t.Errorf("state %s, job %q; want %s, %q", img.State(), img.Job(), c.state, c.job)
				}
				if c.outcome == nil {
					return
				}
				for range 2 {
					img = h.image("a")
					want := h.sources + "/a: it is broken"
					if img.LastError() != want || value(t, img.Status(), "error") != want {
						t.Errorf("LastError %q, status\n%s", img.LastError(), img.Status())
					}
					if _, err := img.Open(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("Open = %v", err)
					}
					h.reopen()
				}
				if !strings.Contains(h.log.String(), "msg=killed") {
					t.Errorf("log:\n%s", h.log.String())
				}
				h.do(h.image("a"), "delete")
			})
		})
	}
}

func TestRegisterThatIsInterruptedGoesOn(t *testing.T) {
	gated(t, func(t *testing.T, h *house, let chan error) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		err := h.Do(ctx, Quote("register", "a", h.source("a", "hello")))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Do = %v", err)
		}
		let <- nil
		synctest.Wait()
		if got := h.image("a").State(); got != Active {
			t.Errorf("state %s", got)
		}
	})
}

func TestRegisterThatFailsInTimeLeavesNothing(t *testing.T) {
	gated(t, func(t *testing.T, h *house, let chan error) {
		time.AfterFunc(patience-time.Millisecond, func() { let <- errors.New("it is broken") })
		err := h.Do(t.Context(), Quote("register", "a", h.source("a", "hello")))
		if err == nil || !strings.HasSuffix(err.Error(), "it is broken") {
			t.Errorf("Do = %v", err)
		}
		if len(h.Images()) != 0 || h.records() != 0 {
			t.Errorf("%d images, %d records are left", len(h.Images()), h.records())
		}
	})
}

func TestQueue(t *testing.T) {
	gated(t, func(t *testing.T, h *house, let chan error) {
		for i := range atOnce + 2 {
			go h.Do(t.Context(), Quote("register", strconv.Itoa(i), h.source(strconv.Itoa(i), "x")))
		}
		synctest.Wait()
		if q, s := value(t, h.Status(), "queued"), value(t, h.Status(), "saving"); q != "2" || s != strconv.Itoa(atOnce) {
			t.Errorf("%s are queued and %s saving", q, s)
		}
		for _, img := range h.Images() {
			if want := map[State]string{Queued: "QUEUED 0.00 - register", Saving: "RUNNING 0.00 - register"}[img.State()]; img.Job() != want {
				t.Errorf("%s has job %q", img.State(), img.Job())
			}
		}
		for range atOnce + 2 {
			let <- nil
		}
		synctest.Wait()
		if got := value(t, h.Status(), "active"); got != strconv.Itoa(atOnce+2) {
			t.Errorf("%s are active", got)
		}
	})
}

func TestDeleteEndsARegistration(t *testing.T) {
	gated(t, func(t *testing.T, h *house, let chan error) {
		done := make(chan error)
		go func() { done <- h.Do(t.Context(), Quote("register", "a", h.source("a", "hello"))) }()
		synctest.Wait()
		img := h.image("a")
		h.do(img, "delete")
		if err := <-done; !errors.Is(err, iofs.ErrClosed) || !strings.Contains(err.Error(), "deleted") {
			t.Errorf("register = %v", err)
		}
		if len(h.Images()) != 0 || h.records() != 0 || img.State() != Deleted {
			t.Errorf("%d images, %d records, state %s", len(h.Images()), h.records(), img.State())
		}
		h.jobs.Wait() // and what they had to close
		if n := descriptors(t, h.sources); n != 0 {
			t.Errorf("%d files are open", n)
		}
	})
}

func TestCloseLeavesRegistrationsForTheNextStart(t *testing.T) {
	gated(t, func(t *testing.T, h *house, let chan error) {
		done := make(chan error)
		go func() { done <- h.Do(t.Context(), Quote("register", "a", h.source("a", "hello"), "os=linux")) }()
		synctest.Wait()
		id := h.image("a").ID()
		registry := h.Registry
		h.close()
		if err := <-done; !errors.Is(err, iofs.ErrClosed) {
			t.Errorf("register = %v", err)
		}
		if err := registry.Do(t.Context(), "register b /b"); !errors.Is(err, iofs.ErrClosed) {
			t.Errorf("register after Close = %v", err)
		}
		h.open()
		synctest.Wait()
		img := h.image("a")
		if img.State() != Saving || img.ID() != id {
			t.Errorf("after the start it is %s with ID %d, want %s with %d", img.State(), img.ID(), Saving, id)
		}
		let <- nil
		synctest.Wait()
		if img.State() != Active || value(t, img.Status(), "size") != "5" {
			t.Errorf("status\n%s", img.Status())
		}
	})
}

// TestRegistrationSurvivesAKill is a crash between the record and the job's end: all there is on disk is "queued".
func TestRegistrationSurvivesAKill(t *testing.T) {
	for _, missing := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := &house{t: t, dir: t.TempDir(), sources: t.TempDir()}
			h.open()
			defer h.close()
			rec := record{ID: 7, Name: "a", State: Queued, Source: h.source("a", "hello"), Registered: time.Now()}
			if missing {
				rec.Source += ".missing"
			}
			if err := h.db.Update(func(tx *kv.WriteTx) error { return rec.put(tx) }); err != nil {
				t.Fatal(err)
			}
			h.reopen()
			synctest.Wait()
			want := Active
			if missing {
				want = Killed
			}
			img := h.image("a")
			if img.State() != want || img.ID() != 7 {
				t.Errorf("status\n%s", img.Status())
			}
			if missing != strings.Contains(img.LastError(), "no such file") {
				t.Errorf("LastError %q", img.LastError())
			}
		})
	}
}

func TestJobLine(t *testing.T) {
	now := time.Unix(1000, 0)
	j := newJob("export", func() time.Time { return now }, nil)
	check := func(want string) {
		t.Helper()
		if got := j.line(); got != want {
			t.Errorf("line %q, want %q", got, want)
		}
	}
	check("QUEUED 0.00 - export")
	now = now.Add(time.Hour) // waiting does not count
	j.begin()
	check("RUNNING 0.00 - export")
	now = now.Add(2 * time.Second)
	j.progress(0.4, 25<<20)
	check("RUNNING 0.40 12.5MiB/s export 3s")
	j.end(errors.New("no\nspace"))
	check("FAILED 0.40 - export: no space")
}

// TestRecordThatCannotBeWritten takes the database away between a registration's record and its end.
func TestRecordThatCannotBeWritten(t *testing.T) {
	gated(t, func(t *testing.T, h *house, let chan error) {
		gone, err := kv.Open(t.TempDir(), kv.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := gone.Close(); err != nil {
			t.Fatal(err)
		}
		swap := func(db *kv.DB) {
			h.changes.Lock()
			defer h.changes.Unlock()
			h.Registry.db = db
		}
		done := make(chan error)
		go func() { done <- h.Do(t.Context(), Quote("register", "a", h.source("a", "hello"))) }()
		synctest.Wait()
		swap(gone)
		let <- nil
		if err := <-done; !errors.Is(err, iofs.ErrClosed) {
			t.Errorf("register = %v", err)
		}
		img := h.image("a")
		if img.State() != Killed || value(t, img.Status(), "error") == "(no error)" {
			t.Errorf("status\n%s", img.Status())
		}
		if err := img.Do(t.Context(), "delete"); !errors.Is(err, iofs.ErrClosed) || img.State() != Killed || len(h.Images()) != 1 {
			t.Errorf("delete = %v, state %s, %d images", err, img.State(), len(h.Images()))
		}
		h.jobs.Wait() // and what they had to close
		if n := descriptors(t, h.sources); n != 0 {
			t.Errorf("%d files are open", n)
		}
		swap(h.db)
		h.reopen()
		let <- nil
		synctest.Wait()
		if got := h.image("a").State(); got != Active {
			t.Errorf("after a restart it is %s", got)
		}
	})
}
