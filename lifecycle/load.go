package lifecycle

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/job"
	"github.com/imsfs/imsfs/lifecycle/pool"
)

// The verbs that bring an image's blocks into the store, check them, and drop them. All are jobs on
// a handle of the image's disk; they run beside its readers.

// checkStored refuses a verb on an image that has nothing in the store.
func (i *Image) checkStored() error {
	if i.reg.cfg.Store == nil {
		return command.Refuse(errors.ErrUnsupported, "there is no block store here")
	}
	if !i.record().Stored() {
		return command.Refuse(errors.ErrUnsupported, "the image %q is registered with load=none: the store keeps nothing of it", i.Name())
	}
	return nil
}

// storeJob is the plan of a job that works on the image's disk in the store.
func (i *Image) storeJob(name string, work func(context.Context, *job.Job, *pool.Handle) error) (plan, error) {
	if err := i.checkStored(); err != nil {
		return plan{}, err
	}
	return i.reg.startJob(&i.jobs, name, i.onDisk(work))
}

// onDisk makes work of work on a handle.
func (i *Image) onDisk(work func(context.Context, *job.Job, *pool.Handle) error) func(context.Context, *job.Job) error {
	return func(ctx context.Context, j *job.Job) error {
		h, err := i.Open(ctx)
		if err != nil {
			return err
		}
		return errors.Join(work(ctx, j, h), h.Close())
	}
}

// prefetch is the verb.
func (i *Image) prefetch(_ context.Context, args *command.Args) (plan, error) {
	off, n, err := rangeOf(args, i.Size())
	if err != nil {
		return plan{}, err
	}
	return i.storeJob("prefetch", func(ctx context.Context, j *job.Job, h *pool.Handle) error {
		return i.load(ctx, j, h, off, n)
	})
}

func rangeOf(args *command.Args, size int64) (off, n int64, err error) {
	off, n = args.Int("OFF", 0), args.Int("LEN", size)
	switch {
	case args.Has("OFF") && !args.Has("LEN"):
		return 0, 0, command.Refuse(command.ErrUsage, "OFF needs LEN, both in bytes: write prefetch OFF LEN")
	case n == 0:
		return 0, 0, command.Refuse(iofs.ErrInvalid, "LEN=0: must be at least 1 byte")
	case off > size-n:
		return 0, 0, command.Refuse(iofs.ErrInvalid, "%d+%d is past the end of the disk (%d bytes)", off, n, size)
	}
	return off, n, nil
}

// load loads a range. When the store is full it is trimmed, and the load goes on where it was.
func (i *Image) load(ctx context.Context, j *job.Job, h *pool.Handle, off, n int64) error {
	for {
		err := h.Load(ctx, off, n, func(p lazyload.Progress) { j.Progress(job.Share(p.Done, p.Total), p.Loaded) })
		if !errors.Is(err, blockstore.ErrFull) {
			return err
		}
		freed, trimErr := i.reg.trim(ctx)
		if trimErr != nil || freed.Bytes == 0 {
			return errors.Join(err, trimErr)
		}
	}
}

// hydrate is the verb. The record remembers it, so that it goes on after a restart and the image
// stays complete from then on.
func (i *Image) hydrate(context.Context, *command.Args) (plan, error) {
	p, err := i.hydrateJob()
	if err == nil {
		p.Apply = func(tx *catalog.Tx) error {
			return tx.ChangeImage(i.id, func(rec *catalog.Image) error { rec.Hydrating = true; return nil })
		}
	}
	return p, err
}

// resumeHydration starts the job that the record remembers.
func (r *Registry) resumeHydration(i *Image) {
	p, err := i.hydrateJob()
	if err == nil {
		err = p.Then(r.runner.Context())
	}
	if err != nil {
		r.cfg.Log.Warn("hydrate", append(i.attrs(), slog.String("error", command.Sentence(err)))...)
	}
}

// hydrateJob is the plan of the job. One that is cancelled before the disk is open is over as well;
// one whose source cannot be opened is tried again by the next daemon.
func (i *Image) hydrateJob() (plan, error) {
	if err := i.checkStored(); err != nil {
		return plan{}, err
	}
	return i.reg.startJob(&i.jobs, "hydrate", func(ctx context.Context, j *job.Job) error {
		err := i.onDisk(i.hydrateDisk)(ctx, j)
		if ctx.Err() != nil {
			err = errors.Join(err, i.hydrated(false))
		}
		return err
	})
}

func (i *Image) hydrateDisk(ctx context.Context, j *job.Job, h *pool.Handle) error {
	err := i.reg.cfg.Store.SetEvictable(i.id, false)
	if err == nil {
		err = i.load(ctx, j, h, 0, i.Size())
	}
	return errors.Join(err, i.hydrated(err == nil))
}

// hydrated records the outcome, unless it was the daemon's end.
func (i *Image) hydrated(all bool) error {
	if i.reg.runner.Closing() || i.Deleted() {
		return nil
	}
	kept := false
	err := i.reg.catalog.Update(func(tx *catalog.Tx) error {
		return tx.ChangeImage(i.id, func(rec *catalog.Image) error {
			rec.Hydrating, rec.Kept = false, rec.Kept || all
			kept = rec.Kept
			return nil
		})
	})
	if err != nil || kept {
		return err
	}
	return i.reg.cfg.Store.SetEvictable(i.id, true)
}

// evict is the verb.
func (i *Image) evict(ctx context.Context, _ *command.Args) (plan, error) {
	p, err := i.storeJob("evict", i.evictDisk)
	if err != nil {
		return p, err
	}
	rec := i.record()
	if rec.Committed {
		return p, command.Refuse(errors.ErrUnsupported, "the image %q was committed: its changed blocks exist only in the store", rec.Name)
	}
	if err := rec.Unchanged(ctx, i.reg.cfg.Sources); err != nil {
		return p, fmt.Errorf("the source cannot give again what would be evicted: %w", err)
	}
	return p, nil
}

func (i *Image) evictDisk(ctx context.Context, _ *job.Job, _ *pool.Handle) error {
	err := i.reg.catalog.Update(func(tx *catalog.Tx) error {
		return tx.ChangeImage(i.id, func(rec *catalog.Image) error { rec.Kept = false; return nil })
	})
	if err == nil {
		err = errors.Join(i.reg.cfg.Store.SetEvictable(i.id, true), i.reg.cfg.Store.Evict(i.id))
	}
	if err == nil {
		_, err = i.reg.cfg.Store.Sweep(ctx)
	}
	return err
}

// verify is the verb: every block of the image is hashed again, and a damaged one is loaded again.
func (i *Image) verify(context.Context, *command.Args) (plan, error) {
	return i.storeJob("verify", func(ctx context.Context, j *job.Job, h *pool.Handle) error {
		var damage []error
		var lasting error
		err := h.Verify(ctx, func(p lazyload.Progress) { j.Progress(job.Share(p.Done, p.Total), p.Done) },
			func(off int64, why error) {
				damage = append(damage, why)
				if err := h.Load(ctx, off, blockstore.BlockSize, nil); err != nil {
					lasting = errors.Join(lasting, fmt.Errorf("the block at %d: %w: %w", off, why, err))
				}
			})
		if len(damage) > 0 {
			i.reg.cfg.Log.Warn("verify found damage",
				append(i.attrs(), slog.Int("blocks", len(damage)), slog.String("first", command.Sentence(damage[0])))...)
		}
		if lasting != nil {
			err = errors.Join(err, fmt.Errorf("%d blocks are damaged, and some cannot be loaded again: %w", len(damage), lasting))
		}
		return err
	})
}

// Digest returns the image's digest in hex, "" while it is not complete in the store.
func (i *Image) Digest() string {
	rec := i.record()
	if i.reg.cfg.Store == nil || !rec.Stored() || rec.State != catalog.Active {
		return ""
	}
	digest, err := i.reg.cfg.Store.Digest(i.id)
	if err != nil {
		return ""
	}
	return digest.String()
}
