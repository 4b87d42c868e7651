package lifecycle

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/formats"
)

// patience is how long a register waits for its job before it leaves it to itself.
const patience = 5 * time.Second

// register is the verb: NAME SOURCE [KEY=VALUE ...]. It returns when the image is active. A source that cannot be opened
// refuses it and leaves nothing behind. If ctx ends or patience does, the registration goes on without it, and a
// failure kills the image.
func (r *Registry) register(ctx context.Context, words []string) error {
	rec, err := r.request(words)
	if err != nil {
		return err
	}
	j, err := r.admit(rec)
	if err != nil {
		return err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-j.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	return r.leave(ctx, j)
}

// leave ends the waiting for a job: with its outcome, if there is one.
func (r *Registry) leave(ctx context.Context, j *job) error {
	r.changes.Lock()
	defer r.changes.Unlock()
	select {
	case <-j.done:
		err := j.outcome()
		if errors.Is(err, formats.ErrCorrupt) { // a bad argument, to who registers; to who reads it is an I/O error
			return &refusal{errors.Join(iofs.ErrInvalid, err), err.Error()}
		}
		return err
	default:
	}
	j.attended = false
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("it goes on without being waited for: %w", err)
	}
	return nil
}

// request makes a record of the words of a command.
func (r *Registry) request(words []string) (record, error) {
	rec := record{Name: words[0], State: Queued, Load: Lazy, Registered: r.cfg.Now().UTC()}
	if err := checkName(rec.Name); err != nil {
		return record{}, err
	}
	var err error
	if rec.Source, err = r.checkSource(words[1]); err != nil {
		return record{}, err
	}
	seen := map[string]bool{}
	for _, w := range words[2:] {
		key, value, ok := strings.Cut(w, "=")
		switch {
		case !ok:
			return record{}, refuse(ErrUsage, "%q is not KEY=VALUE", w)
		case seen[key]:
			return record{}, refuse(ErrUsage, "%s is given twice", key)
		}
		seen[key] = true
		if err := r.ask(&rec, key, value); err != nil {
			return record{}, err
		}
	}
	return rec, nil
}

// ask puts one KEY=VALUE into the record of a registration.
func (r *Registry) ask(rec *record, key, value string) error {
	switch key {
	case "format":
		if _, err := r.cfg.Formats.Named(value); err != nil {
			return refuse(iofs.ErrInvalid, "%v", err)
		}
		rec.Format = value
		return nil
	case "snapshot":
		rec.Snapshot = value
		return nil
	case "backing":
		path, err := r.checkSource(value)
		rec.Backing = path
		return err
	case "load":
		if !slices.Contains(loadModes, LoadMode(value)) {
			return refuse(iofs.ErrInvalid, "load=%s: it must be lazy, full or none", Quote(value))
		}
		rec.Load = LoadMode(value)
		return nil
	}
	if err := checkAttribute(key, value); err != nil {
		return err
	}
	rec.Meta = with(rec.Meta, key, value)
	return nil
}

// checkSource tells what it can without looking for the source: that may take its time.
func (r *Registry) checkSource(text string) (string, error) {
	at, err := r.cfg.Sources.Absolute(text)
	if err != nil {
		return "", fmt.Errorf("source: %w", err)
	}
	return at.String(), nil
}

// admit writes the record of a new image and starts its job.
func (r *Registry) admit(rec record) (*job, error) {
	r.changes.Lock()
	defer r.changes.Unlock()
	if other, err := r.Image(rec.Name); err == nil {
		return nil, refuse(iofs.ErrExist, "the name %q is taken by image %d", rec.Name, other.id)
	}
	var err error
	if rec.ID, err = r.ids.Next(); err != nil {
		return nil, err
	}
	if err := r.write(rec.put); err != nil {
		return nil, err
	}
	img := newImage(r, rec)
	r.publish(img, rec)
	return r.startRegistration(img, true), nil
}

// startRegistration starts the job that makes a queued image active; the caller holds changes.
func (r *Registry) startRegistration(img *Image, attended bool) *job {
	ctx, cancel := context.WithCancel(r.ctx)
	j := newJob("register", r.cfg.Now, cancel)
	j.attended = attended
	r.mu.Lock()
	img.job = j
	r.mu.Unlock()
	r.jobs.Go(func() {
		defer cancel()
		o, err := r.save(ctx, img, j)
		r.settle(img, j, o, err)
	})
	return j
}

// save waits for its turn and opens the source.
func (r *Registry) save(ctx context.Context, img *Image, j *job) (*origin, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	j.begin()
	r.mu.Lock()
	if img.rec.State == Queued {
		img.rec.State = Saving
	}
	rec := img.rec
	r.mu.Unlock()
	o := r.disks.origin(rec)
	if _, err := o.open(ctx); err != nil {
		return nil, err
	}
	return o, nil
}

// settle makes the outcome of a registration the image's state.
func (r *Registry) settle(img *Image, j *job, o *origin, err error) {
	r.changes.Lock()
	defer r.changes.Unlock()
	if err == nil {
		err = r.activate(img, o)
	}
	switch {
	case err == nil:
		r.cfg.Log.Info("registered", append(imageAttrs(img), foundAttrs(img)...)...)
	case img.State() == Deleted:
		err = refuse(iofs.ErrClosed, "the image was deleted before it was registered")
	case r.isClosed():
		err = refuse(iofs.ErrClosed, "the store is being closed; the registration goes on when it is opened again")
	case !j.attended || r.remove(img) != nil: // nobody to tell, or no way to take it back
		r.kill(img, err)
	}
	j.end(err)
	r.wantIndex(img)
	if rec := img.record(); rec.State == Active && rec.Hydrating {
		if err := r.startHydration(img); err != nil {
			r.cfg.Log.Warn("hydrate", append(imageAttrs(img), slog.String("error", sentence(err)))...)
		}
	}
}

// activate writes what was found in the source. The disk is kept for the first who opens it, and that before anyone
// can, so that none opens another.
func (r *Registry) activate(img *Image, o *origin) error {
	if img.State() == Deleted {
		return errors.Join(iofs.ErrClosed, o.close())
	}
	rec := img.record()
	d, err := r.found(&rec, o)
	if err != nil {
		return errors.Join(err, o.close())
	}
	r.end(closing(r.disks.keep(img.slot, d)))
	if err := r.update(img, func(now *record) { *now = rec }); err != nil {
		r.end(closing(r.disks.discard(img.slot)))
		return err
	}
	return nil
}

// found puts what was found in the source into a record, and makes the image's disk, in the store, too.
func (r *Registry) found(rec *record, o *origin) (*disk, error) {
	img, err := o.open(r.ctx)
	if err != nil {
		return nil, err
	}
	info := img.Info()
	rec.State = Active
	files := o.files()
	rec.Identity, rec.Beside = files[0].Identity, files[1:]
	rec.Format, rec.Size, rec.Allocated = info.Format, info.Size, info.Occupied()
	rec.ClusterSize, rec.Compression = info.ClusterSize, info.Compression
	rec.Indexed = o.wantsIndex()
	rec.Map = o.mapNote()
	switch {
	case r.cfg.Store == nil || info.Size > blockstore.MaxDiskSize && rec.Load == Lazy:
		rec.Load = None
	case info.Size > blockstore.MaxDiskSize && rec.Load == Full:
		return nil, refuse(iofs.ErrInvalid, "load=full: a disk of %d bytes: the store keeps at most %d of one", info.Size, int64(blockstore.MaxDiskSize))
	}
	rec.Hydrating = rec.Load == Full
	if err := r.disks.create(*rec); err != nil && !errors.Is(err, iofs.ErrExist) { // it is there if a kill came in between
		return nil, err
	}
	return r.disks.disk(r.ctx, *rec, o)
}

// end does what a disk that left the pool leaves to do. That waits for what is being loaded, so the caller, who holds
// changes, does not.
func (r *Registry) end(what func() error) {
	r.jobs.Go(func() {
		if err := what(); err != nil {
			r.cfg.Log.Warn("closing a disk", slog.Any("error", err))
		}
	})
}

// closing is what is left to do of a disk, if there is one.
func closing(d *disk) func() error { return func() error { return closeDisk(d) } }

// kill keeps an image only for its error to be read. If that cannot be written either, the registration is tried
// again when the store is next opened.
func (r *Registry) kill(img *Image, cause error) {
	killed := func(rec *record) { rec.State, rec.Error = Killed, sentence(cause) }
	if err := r.update(img, killed); err != nil {
		cause = errors.Join(cause, err)
		rec := img.record()
		killed(&rec)
		r.publish(img, rec)
	}
	r.mu.Lock()
	img.lastErr = sentence(cause)
	r.mu.Unlock()
	r.cfg.Log.Warn("killed", append(imageAttrs(img), slog.String("error", sentence(cause)))...)
}

func imageAttrs(img *Image) []any {
	rec := img.record()
	return []any{slog.Uint64("id", rec.ID), slog.String("image", rec.Name), slog.String("source", rec.Source)}
}

// foundAttrs are what a registration found out.
func foundAttrs(img *Image) []any {
	rec := img.record()
	attrs := []any{slog.String("format", rec.Format), slog.Int64("size", rec.Size)}
	if rec.Map != "" {
		attrs = append(attrs, slog.String("map", rec.Map))
	}
	return attrs
}
