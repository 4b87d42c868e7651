package command

import (
	"context"
	"fmt"
	"time"
)

// Target is the store, an image or a volume, for a command.
type Target interface {
	// Label names the target in the journal: "image web".
	Label() string
	// State returns where the target is in its life, or an error if it is gone.
	State() (State, error)
	// Meet makes the needs of a verb hold until release is called, or refuses it with ErrBusy.
	Meet(ctx context.Context, needs Needs) (release func(), err error)
}

// Gate refuses commands: for the caller's role, or for a limit that they would exceed.
type Gate interface {
	Allow(by Actor, target Target, verb Spec, args *Args) error
}

// Entry describes a command for a journal: its maker, its line and its outcome.
type Entry struct {
	By     Actor
	Target string
	Verb   string // "" if the line had none
	Line   string
	Err    error // nil: it was done, or its job was begun
}

// Journal keeps entries.
type Journal interface{ Note(Entry) }

// Chain is what every command of a store goes through. It is safe for concurrent use if its parts
// are.
type Chain[X any] struct {
	Roles   Gate // asked before the state: it must not tell a stranger what state there is
	Limits  Gate // asked last before Prepare
	Update  func(func(X) error) error
	Journal Journal
	// Patience is how long a command waits for its Prepare. After that it is refused with
	// context.DeadlineExceeded: a source or a destination does not answer.
	Patience time.Duration
}

// Everybody is a Gate that allows everything.
type Everybody struct{}

// Allow returns nil.
func (Everybody) Allow(Actor, Target, Spec, *Args) error { return nil }

// Perform carries out one call on a target. Its error is one sentence that begins with the verb.
func Perform[T Target, X any](ctx context.Context, c *Chain[X], table []Verb[T, X], target T, call Call) error {
	entry := Entry{By: call.By, Target: target.Label(), Line: call.Line}
	v, args, err := parse(table, target, call.Line)
	if err == nil {
		entry.Verb = v.Name
		err = perform(ctx, c, v, target, args, call.By)
	}
	if err != nil && v.Name != "" {
		err = fmt.Errorf("%s: %w", v.Name, err)
	}
	entry.Err = Answer(err)
	c.Journal.Note(entry)
	return entry.Err
}

// parse finds the verb of a line and checks its arguments. The verb is returned with the error if
// there is one.
func parse[T Target, X any](table []Verb[T, X], target T, line string) (Verb[T, X], *Args, error) {
	none := Verb[T, X]{}
	words, err := Parse(line)
	if err != nil {
		return none, nil, err
	}
	if _, err := target.State(); err != nil {
		return none, nil, err
	}
	v, err := find(table, words[0])
	if err != nil {
		return none, nil, err
	}
	args, err := v.parse(words[1:])
	return v, args, err
}

func perform[T Target, X any](ctx context.Context, c *Chain[X], v Verb[T, X], target T, args *Args, by Actor) error {
	if err := c.Roles.Allow(by, target, v.Spec, args); err != nil {
		return err
	}
	state, err := target.State()
	if err != nil {
		return err
	}
	if !v.Usable(state) {
		return Refuse(ErrBusy, "not while it is %s", state)
	}
	if err := c.Limits.Allow(by, target, v.Spec, args); err != nil {
		return err
	}
	release, err := target.Meet(ctx, v.Needs)
	if err != nil {
		return err
	}
	plan, err := prepare(ctx, c, v, target, args, release)
	if plan.Drop != nil {
		defer plan.Drop()
	}
	if err != nil {
		return err
	}
	if plan.Apply != nil {
		if err := c.Update(plan.Apply); err != nil {
			return err
		}
	}
	if plan.Then == nil {
		return nil
	}
	return plan.Then(ctx)
}

// prepare runs a verb's Prepare, and gives up waiting for it after c.Patience. The plan's Drop
// releases the target, also of a plan that comes too late.
func prepare[T Target, X any](ctx context.Context, c *Chain[X], v Verb[T, X], target T, args *Args, release func()) (Plan[X], error) {
	type outcome struct {
		plan Plan[X]
		err  error
	}
	made := make(chan outcome, 1)
	go func() {
		plan, err := v.Prepare(target, ctx, args)
		drop := plan.Drop
		plan.Drop = func() {
			defer release()
			if drop != nil {
				drop()
			}
		}
		made <- outcome{plan, err}
	}()
	timer := time.NewTimer(c.Patience)
	defer timer.Stop()
	select {
	case o := <-made:
		return o.plan, o.err
	case <-timer.C:
		go func() { (<-made).plan.Drop() }()
		return Plan[X]{}, Refuse(context.DeadlineExceeded, "a source or a destination does not answer (for %s): nothing was changed", c.Patience)
	}
}
