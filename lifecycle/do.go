package lifecycle

import (
	"context"

	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/job"
)

// do runs one command on a target. Its error is one sentence, and is what LastError returns until
// the next command.
func do[T command.Target](ctx context.Context, r *Registry, jobs *job.Slot, table []verb[T], target T, call command.Call) error {
	jobs.SetError(nil) // before: a job that the command starts may fail before the command is through
	err := command.Perform(ctx, &r.chain, table, target, call)
	if err != nil {
		jobs.SetError(err)
	}
	return err
}

// startJob is the plan of a verb whose work is a job, and whose record change, if it has one, comes
// first.
func (r *Registry) startJob(jobs *job.Slot, name string, work func(context.Context, *job.Job) error) (plan, error) {
	claim, err := jobs.Claim(name)
	if err != nil {
		return plan{}, err
	}
	return plan{
		Then: func(context.Context) error { _, err := r.runner.Start(claim, work); return err },
		Drop: claim.Release,
	}, nil
}

// meetIdle claims a slot for a verb that needs it idle.
func meetIdle(jobs *job.Slot, needs command.Needs) (release func(), err error) {
	if needs&command.Idle == 0 {
		return func() {}, nil
	}
	claim, err := jobs.Claim("another command")
	if err != nil {
		return nil, err
	}
	return claim.Release, nil
}

// cancelJob is the plan of the verb cancel.
func cancelJob(jobs *job.Slot) (plan, error) { return plan{}, jobs.Cancel() }
