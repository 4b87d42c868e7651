package lifecycle

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"

	"github.com/imsfs/imsfs/lazyload/overlay"
)

// An export, and a commit that fails, leave a delta that they put on top. What stands still below the top one is made one again before the
// job ends, or by the next daemon.

const (
	// restDeltas is how many deltas a volume has when no job runs: the one that takes writes, and what is below it.
	restDeltas = 2
	// maxDeltas is how many it may have for an export to put another on top: only folds that failed lead there.
	maxDeltas = 16
)

// fold makes the deltas below the top one of an open disk one. No other job of the volume may be running.
func (v *Volume) fold(ctx context.Context, d *overlay.Disk) error {
	for {
		deltas := v.record().Deltas
		lower := len(deltas) - 1
		if lower < restDeltas {
			return nil
		}
		upper := deltas[lower-1]
		if err := d.Fold(ctx, func() error { return v.forget(upper) }); err != nil {
			return fmt.Errorf("making one of the deltas %d and %d: %w", upper, deltas[lower], err)
		}
		v.dropDeltas([]uint64{upper})
	}
}

// forget makes the record name a delta no more.
func (v *Volume) forget(delta uint64) error {
	v.r.changes.Lock()
	defer v.r.changes.Unlock()
	return v.r.updateVolume(v, func(rec *volumeRecord) {
		rec.Deltas = slices.DeleteFunc(slices.Clone(rec.Deltas), func(n uint64) bool { return n == delta })
	})
}

// tidy folds at the end of a job, also of one that was cancelled. What fails is tried again by the next one.
func (v *Volume) tidy(d *overlay.Disk) {
	err := v.fold(v.r.ctx, d)
	if err != nil && !v.r.isClosed() && !errors.Is(err, iofs.ErrClosed) {
		v.r.cfg.Log.Warn("folding", append(volumeAttrs(v), "error", sentence(err))...)
	}
}

// roomForDelta folds if there are too many deltas for another.
func (v *Volume) roomForDelta(d *overlay.Disk) error {
	if len(v.record().Deltas) < maxDeltas {
		return nil
	}
	if err := v.fold(v.r.ctx, d); err != nil {
		return refuse(ErrBusy, "there are %d deltas, of exports before this one, which cannot be made one: commit, snapshot or revert first: %v",
			len(v.record().Deltas), err)
	}
	return nil
}

// tendVolumes looks at the volumes, one after the other, says which are damaged, and folds what another daemon's end left; each fold is
// a job.
func (r *Registry) tendVolumes() {
	for _, v := range r.Volumes() {
		if r.isClosed() {
			return
		}
		if v.state() == Damaged {
			r.cfg.Log.Error("a volume is damaged", append(volumeAttrs(v), "error", v.Damage())...)
			continue
		}
		if len(v.record().Deltas) <= restDeltas {
			continue
		}
		if j := v.startFold(); j != nil {
			<-j.done
		}
	}
}

// startFold returns nil if another job runs, which folds as well.
func (v *Volume) startFold() *job {
	v.r.changes.Lock()
	defer v.r.changes.Unlock()
	err := v.r.launch(&v.job, "fold", func(ctx context.Context, _ *job) error {
		h, err := v.Open(ctx, false)
		if err != nil {
			return v.ended("fold", err)
		}
		return v.ended("fold", errors.Join(v.fold(ctx, h.Disk), h.Close()))
	})
	if err != nil {
		return nil
	}
	return v.r.jobAt(&v.job)
}
