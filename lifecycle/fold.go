package lifecycle

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"

	"github.com/imsfs/imsfs/lazyload/overlay"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/job"
)

// An export, and a commit that fails, leave an extra delta on top. The job merges the frozen deltas
// before it ends; if it cannot, the next daemon does.

const (
	// restDeltas is how many deltas a volume has when no job runs: one that takes writes, and one
	// below it.
	restDeltas = 2
	// maxDeltas is how many it may have for an export to put another on top. Only failed folds lead
	// there.
	maxDeltas = 16
)

// fold merges the deltas below the top one of an open disk into one. No other job of the volume may
// be running.
func (v *Volume) fold(ctx context.Context, d *overlay.Disk) error {
	for {
		deltas := v.record().Deltas
		lower := len(deltas) - 1
		if lower < restDeltas {
			return nil
		}
		upper := deltas[lower-1]
		if err := d.Fold(ctx, func() error { return v.forgetDelta(upper) }); err != nil {
			return fmt.Errorf("merging the deltas %d and %d: %w", upper, deltas[lower], err)
		}
		v.reg.removeDeltas(v.attrs(), []uint64{upper})
	}
}

// forgetDelta takes a delta out of the record.
func (v *Volume) forgetDelta(delta uint64) error {
	return v.update(func(rec *catalog.Volume) {
		rec.Deltas = slices.DeleteFunc(slices.Clone(rec.Deltas), func(n uint64) bool { return n == delta })
	})
}

// foldAfterJob folds at the end of a job, also of one that was cancelled. After a failure the next
// job tries again.
func (v *Volume) foldAfterJob(d *overlay.Disk) {
	err := v.fold(v.reg.runner.Context(), d)
	if err != nil && !v.reg.runner.Closing() && !errors.Is(err, iofs.ErrClosed) {
		v.reg.cfg.Log.Warn("folding", append(v.attrs(), "error", command.Sentence(err))...)
	}
}

// makeRoomForDelta folds if there are too many deltas for another.
func (v *Volume) makeRoomForDelta(d *overlay.Disk) error {
	if len(v.record().Deltas) < maxDeltas {
		return nil
	}
	if err := v.fold(v.reg.runner.Context(), d); err != nil {
		return command.Refuse(command.ErrBusy, "there are %d deltas of earlier exports, which cannot be merged (commit, snapshot or revert first): %v",
			len(v.record().Deltas), err)
	}
	return nil
}

// tendVolumes inspects the volumes, one after the other, logs which are damaged, and folds what an
// earlier daemon left; each fold is a job.
func (r *Registry) tendVolumes() {
	for _, v := range r.Volumes() {
		if r.runner.Closing() {
			return
		}
		if v.usableAs() == catalog.Damaged {
			r.cfg.Log.Error("a volume is damaged", append(v.attrs(), "error", v.Damage())...)
			continue
		}
		if len(v.record().Deltas) > restDeltas {
			v.runFold()
		}
	}
}

// runFold folds as a job, and waits for it. If another job runs, that one folds.
func (v *Volume) runFold() {
	claim, err := v.jobs.Claim("fold")
	if err != nil {
		return
	}
	j, err := v.reg.runner.Start(claim, func(ctx context.Context, _ *job.Job) error {
		h, err := v.Open(ctx)
		if err != nil {
			return err
		}
		return errors.Join(v.fold(ctx, h.Disk), h.Close())
	})
	if err == nil {
		<-j.Done()
	}
}
