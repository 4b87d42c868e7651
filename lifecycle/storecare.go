package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/job"
)

// The verbs that look after the block store. All are jobs.

// careJob is the plan of a job on the block store.
func (r *Registry) careJob(name string, work func(context.Context, *job.Job) error) (plan, error) {
	if r.cfg.Store == nil {
		return plan{}, command.Refuse(errors.ErrUnsupported, "there is no block store here")
	}
	return r.startJob(&r.jobs, name, work)
}

// verify is the verb.
func (r *Registry) verify(context.Context, *command.Args) (plan, error) {
	return r.careJob("verify", func(ctx context.Context, j *job.Job) error {
		var damage []error
		err := r.cfg.Store.Verify(ctx,
			func(done, total int64) { j.Progress(job.Share(done, total), done*blockstore.BlockSize) },
			func(what error) { damage = append(damage, what) })
		if len(damage) > 0 {
			r.cfg.Log.Warn("verify found damage", slog.Int("blocks", len(damage)), slog.String("first", command.Sentence(damage[0])))
			err = errors.Join(err, fmt.Errorf("%d blocks are damaged and out of use until they are loaded again, the first: %w", len(damage), damage[0]))
		}
		return err
	})
}

// sweep is the verb.
func (r *Registry) sweep(context.Context, *command.Args) (plan, error) {
	return r.careJob("sweep", func(ctx context.Context, _ *job.Job) error { return r.logFreed("swept")(r.cfg.Store.Sweep(ctx)) })
}

// compact is the verb.
func (r *Registry) compact(context.Context, *command.Args) (plan, error) {
	return r.careJob("compact", func(ctx context.Context, _ *job.Job) error {
		return r.logFreed("compacted")(r.cfg.Store.Compact(ctx))
	})
}

// logFreed logs how much space was given back.
func (r *Registry) logFreed(what string) func(blockstore.Freed, error) error {
	return func(f blockstore.Freed, err error) error {
		if err == nil {
			r.cfg.Log.Info(what, slog.Int64("blocks", f.Blocks), slog.Int64("bytes", f.Bytes))
		}
		return err
	}
}
