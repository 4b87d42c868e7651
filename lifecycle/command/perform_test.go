package command

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// lamp is a target: it is off or on, and remembers what happened.
type lamp struct {
	state State
	gone  bool
	log   []string
}

func (l *lamp) Label() string { return "lamp" }

func (l *lamp) State() (State, error) {
	if l.gone {
		return "", Refuse(iofs.ErrClosed, "the lamp is gone")
	}
	return l.state, nil
}

func (l *lamp) Meet(_ context.Context, needs Needs) (func(), error) {
	if needs&Unused != 0 && l.state == "on" {
		return nil, Refuse(ErrBusy, "the lamp is in use")
	}
	l.log = append(l.log, "meet")
	return func() { l.log = append(l.log, "release") }, nil
}

// refusing is a Gate that refuses a verb.
type refusing string

func (g refusing) Allow(_ Actor, _ Target, verb Spec, _ *Args) error {
	if verb.Name == string(g) {
		return Refuse(iofs.ErrPermission, "not you")
	}
	return nil
}

// diary is a Journal.
type diary []Entry

func (d *diary) Note(e Entry) { *d = append(*d, e) }

type change = *[]string

var lampVerbs = []Verb[*lamp, change]{
	{Spec: Spec{
		Name: "switch", Help: "switch it", In: []State{"off"},
		Args:    []Option{{Key: "WATTS", Rule: Number("W", 100)}, {Key: "dim", Rule: OneOf("dim"), Optional: true}},
		Options: []Option{{Key: "colour", Rule: OneOf("red", "green")}, {Key: "why", Rule: Text(5)}},
	}, Prepare: func(l *lamp, _ context.Context, args *Args) (Plan[change], error) {
		return Plan[change]{
			Apply: func(c change) error { *c = append(*c, "apply "+args.Text("WATTS")+args.Text("colour")); return nil },
			Then:  func(context.Context) error { l.log = append(l.log, "then"); return nil },
			Drop:  func() { l.log = append(l.log, "drop") },
		}, nil
	}},
	{Spec: Spec{Name: "remove", Help: "take it away", Needs: Unused}, Prepare: func(*lamp, context.Context, *Args) (Plan[change], error) {
		return Plan[change]{}, nil
	}},
	{Spec: Spec{Name: "hang", Help: "wait for ever", Needs: Unused}, Prepare: func(l *lamp, ctx context.Context, _ *Args) (Plan[change], error) {
		<-ctx.Done()
		return Plan[change]{Drop: func() { l.log = append(l.log, "drop") }}, ctx.Err()
	}},
}

func newChain(applied change, d *diary) *Chain[change] {
	return &Chain[change]{
		Roles: Everybody{}, Limits: Everybody{}, Journal: d, Patience: time.Minute,
		Update: func(apply func(change) error) error { return apply(applied) },
	}
}

func TestPerform(t *testing.T) {
	t.Run("goes through the chain in order", func(t *testing.T) {
		l, d, applied := &lamp{state: "off"}, diary{}, []string{}
		by := Actor{UID: 7, PID: 9}
		if err := Perform(t.Context(), newChain(&applied, &d), lampVerbs, l, Call{"switch 60 colour=red", by}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(l.log, " "); got != "meet then drop release" || !slices.Equal(applied, []string{"apply 60red"}) {
			t.Errorf("%s; applied %q", got, applied)
		}
		if len(d) != 1 || d[0].By != by || d[0].Verb != "switch" || d[0].Target != "lamp" || d[0].Err != nil {
			t.Errorf("journal %+v", d)
		}
	})
	t.Run("refuses in words that name key, value and what is allowed", func(t *testing.T) {
		for line, want := range map[string]string{
			"":                                 "the line is empty",
			"explode":                          `unknown verb "explode": known are switch, remove, hang`,
			"switch":                           "switch: takes 1 to 2 arguments, got 0: write switch WATTS [dim] [KEY=VALUE ...]",
			"switch 101":                       "switch: WATTS=101: must be a whole number of W from 0 to 100",
			"switch 60 dark":                   "switch: dim=dark: must be dim",
			"switch 60 colour=red colour=red":  "switch: colour is given twice",
			"switch 60 dim colour=blue":        "switch: colour=blue: must be red or green",
			"switch 60 dim size=1":             `switch: unknown key "size": known are colour, why`,
			"switch 60 dim loud":               `switch: "loud" is not KEY=VALUE: write switch WATTS [dim] [KEY=VALUE ...]`,
			"switch 60 dim why=because-of-you": "switch: why=because-of-you: has 14 bytes (at most 5)",
			"remove it":                        "remove: takes 0 arguments, got 1: write remove",
		} {
			l, d, applied := &lamp{state: "off"}, diary{}, []string{}
			err := Perform(t.Context(), newChain(&applied, &d), lampVerbs, l, Call{Line: line})
			if err == nil || err.Error() != want || !errors.Is(err, iofs.ErrInvalid) {
				t.Errorf("%q: %v, want %s", line, err, want)
			}
			if len(d) != 1 || d[0].Err == nil || len(l.log)+len(applied) != 0 {
				t.Errorf("%q: journal %+v, log %q, applied %q", line, d, l.log, applied)
			}
		}
	})
	t.Run("asks for the role before it tells the state", func(t *testing.T) {
		l, d, applied := &lamp{state: "on"}, diary{}, []string{}
		c := newChain(&applied, &d)
		if err := Perform(t.Context(), c, lampVerbs, l, Call{Line: "switch 1"}); !errors.Is(err, ErrBusy) || err.Error() != "switch: not while it is on" {
			t.Errorf("state: %v", err)
		}
		c.Roles = refusing("switch")
		if err := Perform(t.Context(), c, lampVerbs, l, Call{Line: "switch 1"}); !errors.Is(err, iofs.ErrPermission) {
			t.Errorf("role: %v", err)
		}
		l.state, c.Roles, c.Limits = "off", Everybody{}, refusing("switch")
		if err := Perform(t.Context(), c, lampVerbs, l, Call{Line: "switch 1"}); !errors.Is(err, iofs.ErrPermission) || len(l.log) != 0 {
			t.Errorf("limit: %v, log %q", err, l.log)
		}
	})
	t.Run("refuses what the target cannot meet, or when it is gone", func(t *testing.T) {
		l, d, applied := &lamp{state: "on"}, diary{}, []string{}
		c := newChain(&applied, &d)
		if err := Perform(t.Context(), c, lampVerbs, l, Call{Line: "remove"}); !errors.Is(err, ErrBusy) {
			t.Errorf("needs: %v", err)
		}
		l.gone = true
		if err := Perform(t.Context(), c, lampVerbs, l, Call{Line: "remove"}); !errors.Is(err, iofs.ErrClosed) {
			t.Errorf("gone: %v", err)
		}
	})
	t.Run("drops a plan that could not be applied", func(t *testing.T) {
		l, d, applied := &lamp{state: "off"}, diary{}, []string{}
		c := newChain(&applied, &d)
		c.Update = func(func(change) error) error { return errors.New("the disk is full") }
		if err := Perform(t.Context(), c, lampVerbs, l, Call{Line: "switch 1"}); err == nil || strings.Join(l.log, " ") != "meet drop release" {
			t.Errorf("%v, log %q", err, l.log)
		}
	})
	t.Run("gives up on a Prepare that hangs, and drops it when it ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l, d, applied := &lamp{state: "off"}, diary{}, []string{}
			ctx, cancel := context.WithCancel(t.Context())
			err := Perform(ctx, newChain(&applied, &d), lampVerbs, l, Call{Line: "hang"})
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "does not answer (for 1m0s)") {
				t.Errorf("hang: %v", err)
			}
			if got := strings.Join(l.log, " "); got != "meet" {
				t.Errorf("released while it hangs: %s", got)
			}
			cancel()
			synctest.Wait()
			if got := strings.Join(l.log, " "); got != "meet drop release" {
				t.Errorf("after its end: %s", got)
			}
		})
	})
}

func TestListing(t *testing.T) {
	want := "switch WATTS [dim] [KEY=VALUE ...]  # switch it. Keys: colour, why\nremove  # take it away\nhang  # wait for ever\n"
	if got := Listing(lampVerbs, "off"); got != want {
		t.Errorf("listing\n%swant\n%s", got, want)
	}
	if got := Listing(lampVerbs, "on"); strings.Contains(got, "switch") {
		t.Errorf("listing of another state\n%s", got)
	}
}

func ExampleListing() {
	fmt.Print(Listing(lampVerbs[1:2], "off"))
	// Output: remove  # take it away
}
