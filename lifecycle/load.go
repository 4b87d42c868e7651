package lifecycle

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"strconv"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/lazyload"
)

// The verbs that bring an image's blocks into the store, look at them, and let them go. All are jobs on a handle of the
// image's disk; they run beside its readers.

// keeps refuses a verb on an image that has nothing in the store.
func (i *Image) keeps() error {
	if i.r.cfg.Store == nil {
		return refuse(errors.ErrUnsupported, "there is no block store here")
	}
	if !i.record().stored() {
		return refuse(errors.ErrUnsupported, "the image %q is registered with load=none: nothing of it is kept", i.Name())
	}
	return nil
}

// onDisk starts a job that works on the image's disk; the caller holds changes.
func (i *Image) onDisk(verb string, work func(context.Context, *job, *Handle) error) error {
	if err := i.keeps(); err != nil {
		return err
	}
	return i.launch(verb, work, func() {})
}

// launch starts a job on a handle of the image's disk, and runs cleanup at its end; the caller holds changes.
func (i *Image) launch(verb string, work func(context.Context, *job, *Handle) error, cleanup func()) error {
	return i.r.launch(&i.job, verb, func(ctx context.Context, j *job) error {
		defer cleanup()
		h, err := i.Open(ctx)
		if err == nil {
			err = errors.Join(work(ctx, j, h), h.Close())
		}
		return i.ended(verb, err)
	})
}

// ended notes a job's failure where people look for it.
func (i *Image) ended(verb string, err error) error {
	if err == nil {
		i.r.cfg.Log.Info(verb, imageAttrs(i)...)
		return nil
	}
	i.setError(sentence(fmt.Errorf("%s: %w", verb, err)))
	if !i.r.isClosed() {
		i.r.cfg.Log.Warn(verb, append(imageAttrs(i), slog.String("error", sentence(err)))...)
	}
	return err
}

// prefetch is the verb: [OFF LEN].
func (i *Image) prefetch(_ context.Context, words []string) error {
	off, n, err := i.rangeOf(words)
	if err != nil {
		return err
	}
	return i.onDisk("prefetch", func(ctx context.Context, j *job, h *Handle) error {
		return i.load(ctx, j, h, off, n)
	})
}

func (i *Image) rangeOf(words []string) (off, n int64, err error) {
	size := i.Size()
	switch len(words) {
	case 0:
		return 0, size, nil
	case 1:
		return 0, 0, refuse(ErrUsage, "an offset wants a length behind it, both in bytes")
	}
	off, errOff := strconv.ParseInt(words[0], 10, 64)
	n, errLen := strconv.ParseInt(words[1], 10, 64)
	if errOff != nil || errLen != nil || off < 0 || n <= 0 || off > size-n {
		return 0, 0, refuse(iofs.ErrInvalid, "%s %s is no range of a disk of %d bytes: give offset and length in bytes", words[0], words[1], size)
	}
	return off, n, nil
}

// load loads a range. When the store is full it is trimmed, and the load goes on where it was.
func (i *Image) load(ctx context.Context, j *job, h *Handle, off, n int64) error {
	report := func(p lazyload.Progress) { j.progress(float64(p.Done)/float64(max(p.Total, 1)), p.Loaded) }
	for {
		err := h.Load(ctx, off, n, report)
		if !errors.Is(err, blockstore.ErrFull) {
			return err
		}
		freed, trimErr := i.r.trim(ctx)
		if trimErr != nil || freed.Bytes == 0 {
			return errors.Join(err, trimErr)
		}
	}
}

// hydrate is the verb. It is remembered, so that it goes on after a restart, and the image stays complete from then on.
func (i *Image) hydrate(context.Context, []string) error {
	if err := i.keeps(); err != nil {
		return err
	}
	if err := i.r.idle(i.r.jobAt(&i.job)); err != nil {
		return err
	}
	if err := i.r.update(i, func(rec *record) { rec.Hydrating = true }); err != nil {
		return err
	}
	return i.r.startHydration(i)
}

// startHydration starts or takes up the loading of all of an image; the caller holds changes.
func (r *Registry) startHydration(i *Image) error {
	return i.onDisk("hydrate", func(ctx context.Context, j *job, h *Handle) error {
		err := r.cfg.Store.SetEvictable(i.id, false)
		if err == nil {
			err = i.load(ctx, j, h, 0, i.Size())
		}
		return errors.Join(err, r.hydrated(i, err == nil))
	})
}

// hydrated records the outcome, unless it was the daemon's end.
func (r *Registry) hydrated(i *Image, kept bool) error {
	r.changes.Lock()
	defer r.changes.Unlock()
	if r.isClosed() || i.State() == Deleted {
		return nil
	}
	if err := r.update(i, func(rec *record) { rec.Hydrating, rec.Kept = false, rec.Kept || kept }); err != nil {
		return err
	}
	if i.record().Kept {
		return nil
	}
	return r.cfg.Store.SetEvictable(i.id, true)
}

// evict is the verb: what the source can give again leaves the store.
func (i *Image) evict(ctx context.Context, _ []string) error {
	if err := i.keeps(); err != nil {
		return err
	}
	if i.record().Committed {
		return refuse(errors.ErrUnsupported, "the image %q was committed: what was changed is nowhere but in the store", i.Name())
	}
	if err := i.record().stands(ctx, i.r.cfg.Sources); err != nil {
		return fmt.Errorf("the source cannot give again what would be evicted: %w", err)
	}
	return i.onDisk("evict", func(ctx context.Context, j *job, h *Handle) error {
		i.r.changes.Lock()
		err := i.r.update(i, func(rec *record) { rec.Kept = false })
		i.r.changes.Unlock()
		if err == nil {
			err = errors.Join(i.r.cfg.Store.SetEvictable(i.id, true), i.r.cfg.Store.Evict(i.id))
		}
		if err != nil {
			return err
		}
		_, err = i.r.cfg.Store.Sweep(ctx)
		return err
	})
}

// verify is the verb: every block of the image is hashed again, and what is damaged is loaded again.
func (i *Image) verify(context.Context, []string) error {
	return i.onDisk("verify", func(ctx context.Context, j *job, h *Handle) error {
		var found []error
		var healed error
		err := h.Verify(ctx, func(p lazyload.Progress) { j.progress(float64(p.Done)/float64(max(p.Total, 1)), p.Done) },
			func(off int64, damage error) {
				found = append(found, damage)
				if err := h.Load(ctx, off, blockstore.BlockSize, nil); err != nil {
					healed = errors.Join(healed, fmt.Errorf("the block at %d: %w: %w", off, damage, err))
				}
			})
		if len(found) > 0 {
			i.r.cfg.Log.Warn("verify found damage", append(imageAttrs(i), slog.Int("blocks", len(found)), slog.String("first", sentence(found[0])))...)
		}
		if healed != nil {
			err = errors.Join(err, fmt.Errorf("%d blocks are damaged, and some cannot be loaded again: %w", len(found), healed))
		}
		return err
	})
}

// cancelJob is the verb: the job that is running ends as soon as it can.
func (i *Image) cancelJob(context.Context, []string) error { return cancelJob(i.r.jobAt(&i.job)) }

// Digest is the image's digest in hex, "" while it is not complete in the store.
func (i *Image) Digest() string {
	rec := i.record()
	if i.r.cfg.Store == nil || !rec.stored() || rec.State != Active {
		return ""
	}
	digest, err := i.r.cfg.Store.Digest(i.id)
	if err != nil {
		return ""
	}
	return digest.String()
}
