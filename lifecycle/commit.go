package lifecycle

import (
	"context"
	"errors"
	"log/slog"

	"github.com/imsfs/imsfs/lazyload/overlay"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/job"
	"github.com/imsfs/imsfs/lifecycle/pool"
)

// A commit makes an image of the content of a volume at one moment, while the volume goes on. The
// image's disk in the store begins as the one the volume rests on, and gets the changed blocks; an
// absent block is loaded from the source of the base. Until the one transaction that publishes the
// image there is only a disk in the store that no record names, and the volume reads the same all
// the time.

// commitment describes the image that a commit or a snapshot makes.
type commitment struct {
	verb     string
	name     string
	meta     map[string]string
	quiesce  bool // refused while a process has the disk open for writing
	snapshot bool // a revert goes back to where it did before
}

// launchCommit is the verbs commit and snapshot.
func (v *Volume) launchCommit(ctx context.Context, c commitment, args *command.Args) (plan, error) {
	r := v.reg
	if r.cfg.Store == nil {
		return plan{}, command.Refuse(errors.ErrUnsupported, "there is no block store here")
	}
	c.name, c.quiesce = args.Text("IMAGE"), args.Yes("quiesce", false)
	c.meta = takeAttributes(args, v.record().Meta)
	if err := r.catalog.ImageNameFree(c.name); err != nil {
		return plan{}, err
	}
	if c.quiesce {
		v.use.await(ctx, func() bool { return len(v.use.writers) == 0 })
	}
	if err := v.checkQuiesced(c); err != nil {
		return plan{}, err
	}
	return r.startJob(&v.jobs, c.verb, func(ctx context.Context, j *job.Job) error { return v.commitAs(ctx, j, c) })
}

// checkQuiesced refuses a commit that is not to be while a process writes.
func (v *Volume) checkQuiesced(c commitment) error {
	if _, writers := v.handles(); c.quiesce && writers > 0 {
		return command.Refuse(command.ErrBusy, "quiesce=yes: a process has the volume %q open for writing", v.Name())
	}
	return nil
}

// commitAs is the job.
func (v *Volume) commitAs(ctx context.Context, j *job.Job, c commitment) error {
	h, err := v.Open(ctx)
	if err != nil {
		return err
	}
	rec := v.record().Committed()
	rec.Name, rec.Meta, rec.Registered = c.name, c.meta, v.reg.cfg.Now().UTC()
	if err = v.checkQuiesced(c); err != nil {
		return errors.Join(err, h.Close())
	}
	frozen, err := v.freeze(h.Disk)
	if err == nil {
		rec.Size = frozen.Size()
		rec.ID, err = v.reg.catalog.Next()
	}
	if err == nil {
		at := v.reg.pool.Acquire(rec.ID) // released below: the disk goes with it if no image was made
		if err = v.save(ctx, j, frozen, &rec); err == nil {
			err = v.publish(ctx, h.Disk, rec, c.snapshot)
		}
		v.reg.pool.Release(at)
		v.foldAfterJob(h.Disk)
	}
	return errors.Join(err, h.Close())
}

// freeze puts a new delta on top. The record names it before anything is written to it.
func (v *Volume) freeze(d *overlay.Disk) (*overlay.Frozen, error) {
	r := v.reg
	n, err := r.newDelta(d.Size())
	if err != nil {
		return nil, err
	}
	files, err := r.deltas.Open(n)
	if err != nil {
		return nil, err
	}
	old := v.record().Deltas
	if err := v.update(func(rec *catalog.Volume) { rec.Deltas = append([]uint64{n}, old...) }); err != nil {
		return nil, errors.Join(err, files.Close(), r.deltas.Remove(n))
	}
	frozen, err := d.Freeze(files)
	if frozen == nil { // the volume goes on without it
		err = errors.Join(err, files.Close(), v.update(func(rec *catalog.Volume) { rec.Deltas = old }))
	}
	return frozen, err
}

// publish makes the image and puts the volume on it, in one transaction; then the frozen deltas go.
func (v *Volume) publish(ctx context.Context, d *overlay.Disk, rec catalog.Image, snapshot bool) error {
	at := v.reg.pool.Acquire(rec.ID)
	handle, err := v.reg.pool.Open(ctx, rec.Base(), at)
	if err == nil {
		if err = v.enter(d, rec, at, handle, snapshot); err != nil {
			err = errors.Join(err, handle.Close())
		}
	}
	if err != nil {
		v.reg.pool.Release(at)
	}
	return err
}

// enter writes both records, and lets the volume rest on the new disk.
func (v *Volume) enter(d *overlay.Disk, rec catalog.Image, at *pool.Slot, base *pool.Handle, snapshot bool) error {
	r := v.reg
	img := r.adoptImage(rec.ID)
	var old catalog.Volume
	err := r.catalog.Update(func(tx *catalog.Tx) error {
		if err := tx.AddImage(rec); err != nil {
			return err
		}
		return tx.ChangeVolume(v.id, func(now *catalog.Volume) error {
			old = *now
			*now = now.On(rec, snapshot)
			return nil
		})
	})
	if err != nil {
		r.disown(img)
		return err
	}
	v.rebase(d, base, at, old)
	r.pool.Indexes().Want(rec.Base())
	r.cfg.Log.Info("committed", append(v.attrs(), slog.String("image", rec.Name), slog.Int64("size", rec.Size))...)
	return nil
}

// rebase lets the open disk lie on the image, and drops the old base unless a revert needs it.
func (v *Volume) rebase(d *overlay.Disk, base *pool.Handle, at *pool.Slot, old catalog.Volume) {
	if _, err := d.Rebase(base.Disk); err != nil {
		v.reg.cfg.Log.Warn("closing a delta", append(v.attrs(), slog.String("error", command.Sentence(err)))...)
	}
	u := &v.use
	u.mu.Lock()
	was := u.base
	u.base = base
	u.mu.Unlock()
	if was != nil {
		v.reg.background(was.Close)
	}
	v.restOnly(at, v.reg.restOn(v.record().Origin))
	v.reg.background(func() error { // removing 256 MiB takes 0.2 s, and the job would wait for it
		v.reg.removeDeltas(v.attrs(), old.Deltas[1:])
		return nil
	})
}

// background runs work after the command or job that leaves it, and logs its failure.
func (r *Registry) background(work func() error) {
	logged := func() {
		if err := work(); err != nil {
			r.cfg.Log.Warn("closing a disk", slog.String("error", command.Sentence(err)))
		}
	}
	if !r.runner.Go(logged) {
		logged()
	}
}
