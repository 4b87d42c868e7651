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

	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// gated is a house whose format opens nothing until it is let; the test runs in a bubble of its own
// time.
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
		state   catalog.State
		job     string
	}{
		{"well", nil, catalog.Active, "DONE 1.00 - register"},
		{"badly", errors.New("it is broken"), catalog.Killed, "FAILED 0.00 - register: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			gated(t, func(t *testing.T, h *house, let chan error) {
				begun := time.Now()
				h.do(h, "register", "a", h.source("a", "hello"))
				if took := time.Since(begun); took != patience {
					t.Errorf("waited %s, want %s", took, patience)
				}
				img := h.image("a")
				if img.record().State != catalog.Saving || img.Job() != "RUNNING 0.00 - register" {
					t.Errorf("state %s, job %q", img.record().State, img.Job())
				}
				if _, err := img.Open(t.Context()); !errors.Is(err, command.ErrBusy) || !errors.Is(err, syscall.EBUSY) {
					t.Errorf("Open = %v", err)
				}
				if err := img.Do(t.Context(), command.Call{Line: "rename b"}); !errors.Is(err, command.ErrBusy) {
					t.Errorf("rename = %v", err)
				}
				let <- c.outcome
				synctest.Wait()
				if img.record().State != c.state || !strings.HasPrefix(img.Job(), c.job) {
					t.Errorf("state %s, job %q; want %s, %q", img.record().State, img.Job(), c.state, c.job)
				}
				if c.outcome == nil {
					return
				}
				for range 2 {
					img = h.image("a")
					want := h.sources + "/a: it is broken"
					if img.LastError() != "register: "+want || value(t, img.Status(), "error") != want {
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
		err := h.Do(ctx, command.Call{Line: command.Quote("register", "a", h.source("a", "hello"))})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Do = %v", err)
		}
		let <- nil
		synctest.Wait()
		if got := h.image("a").record().State; got != catalog.Active {
			t.Errorf("state %s", got)
		}
	})
}

func TestRegisterThatFailsInTimeLeavesNothing(t *testing.T) {
	gated(t, func(t *testing.T, h *house, let chan error) {
		time.AfterFunc(patience-time.Millisecond, func() { let <- errors.New("it is broken") })
		err := h.Do(t.Context(), command.Call{Line: command.Quote("register", "a", h.source("a", "hello"))})
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
			go h.Do(t.Context(), command.Call{Line: command.Quote("register", strconv.Itoa(i), h.source(strconv.Itoa(i), "x"))})
		}
		synctest.Wait()
		if q, s := value(t, h.Status(), "queued"), value(t, h.Status(), "saving"); q != "2" || s != strconv.Itoa(atOnce) {
			t.Errorf("%s are queued and %s saving", q, s)
		}
		for _, img := range h.Images() {
			if want := map[catalog.State]string{catalog.Queued: "QUEUED 0.00 - register", catalog.Saving: "RUNNING 0.00 - register"}[img.record().State]; img.Job() != want {
				t.Errorf("%s has job %q", img.record().State, img.Job())
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
		go func() {
			done <- h.Do(t.Context(), command.Call{Line: command.Quote("register", "a", h.source("a", "hello"))})
		}()
		synctest.Wait()
		img := h.image("a")
		h.do(img, "delete")
		if err := <-done; !errors.Is(err, iofs.ErrClosed) || !strings.Contains(err.Error(), "deleted") {
			t.Errorf("register = %v", err)
		}
		if len(h.Images()) != 0 || h.records() != 0 || img.record().State != catalog.Deleted {
			t.Errorf("%d images, %d records, state %s", len(h.Images()), h.records(), img.record().State)
		}
		synctest.Wait() // and closes what it opened
		if n := descriptors(t, h.sources); n != 0 {
			t.Errorf("%d files are open", n)
		}
	})
}

func TestCloseLeavesRegistrationsForTheNextStart(t *testing.T) {
	gated(t, func(t *testing.T, h *house, let chan error) {
		done := make(chan error)
		go func() {
			done <- h.Do(t.Context(), command.Call{Line: command.Quote("register", "a", h.source("a", "hello"), "os=linux")})
		}()
		synctest.Wait()
		id := h.image("a").ID()
		registry := h.Registry
		h.close()
		if err := <-done; !errors.Is(err, iofs.ErrClosed) {
			t.Errorf("register = %v", err)
		}
		if err := registry.Do(t.Context(), command.Call{Line: "register b /b"}); !errors.Is(err, iofs.ErrClosed) {
			t.Errorf("register after Close = %v", err)
		}
		h.open()
		synctest.Wait()
		img := h.image("a")
		if img.record().State != catalog.Saving || img.ID() != id {
			t.Errorf("after the start it is %s with ID %d, want %s with %d", img.record().State, img.ID(), catalog.Saving, id)
		}
		let <- nil
		synctest.Wait()
		if img.record().State != catalog.Active || value(t, img.Status(), "size") != "5" {
			t.Errorf("status\n%s", img.Status())
		}
	})
}

// TestRegistrationSurvivesAKill is a crash between the record and the job's end: all there is on
// disk is "queued".
func TestRegistrationSurvivesAKill(t *testing.T) {
	for _, missing := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := &house{t: t, dir: t.TempDir(), sources: t.TempDir()}
			h.open()
			defer h.close()
			rec := catalog.Image{ID: 7, Name: "a", State: catalog.Queued, Source: catalog.Source{Path: h.source("a", "hello")}, Registered: time.Now()}
			if missing {
				rec.Path += ".missing"
			}
			h.close()
			h.putRecord(rec)
			h.open()
			synctest.Wait()
			want := catalog.Active
			if missing {
				want = catalog.Killed
			}
			img := h.image("a")
			if img.record().State != want || img.ID() != 7 {
				t.Errorf("status\n%s", img.Status())
			}
			if missing != strings.Contains(img.LastError(), "no such file") {
				t.Errorf("LastError %q", img.LastError())
			}
		})
	}
}

// TestRecordThatCannotBeWritten takes the database away between a registration's record and its
// end.
func TestRecordThatCannotBeWritten(t *testing.T) {
	gated(t, func(t *testing.T, h *house, let chan error) {
		done := make(chan error)
		go func() {
			done <- h.Do(t.Context(), command.Call{Line: command.Quote("register", "a", h.source("a", "hello"))})
		}()
		synctest.Wait()
		h.catalog.Close()
		let <- nil
		if err := <-done; !errors.Is(err, iofs.ErrClosed) {
			t.Errorf("register = %v", err)
		}
		img := h.image("a")
		if img.record().State != catalog.Killed || value(t, img.Status(), "error") == "(no error)" {
			t.Errorf("status\n%s", img.Status())
		}
		if err := img.Do(t.Context(), command.Call{Line: "delete"}); !errors.Is(err, iofs.ErrClosed) || img.record().State != catalog.Killed || len(h.Images()) != 1 {
			t.Errorf("delete = %v, state %s, %d images", err, img.record().State, len(h.Images()))
		}
		synctest.Wait() // and closes what it opened
		if n := descriptors(t, h.sources); n != 0 {
			t.Errorf("%d files are open", n)
		}
		h.reopen()
		let <- nil
		synctest.Wait()
		if got := h.image("a").record().State; got != catalog.Active {
			t.Errorf("after a restart it is %s", got)
		}
	})
}
