package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/imsfs/imsfs/blockstore"
)

// The registry looks after its block store: it trims it when something did not fit, and tells once what went wrong.

// trimPause is how long a store that could not be trimmed is left alone: what fills the disk may be somebody else's.
const trimPause = 10 * time.Second

// look follows the saver's failures until the registry is closed.
func (r *Registry) look() {
	if _, err := r.trim(r.ctx); err != nil { // the limit may be a new one
		r.troubled(err)
	}
	for {
		select {
		case err := <-r.cfg.Loader.SaveFailures():
			r.failed(err)
		case <-r.ctx.Done():
			return
		}
	}
}

// failed is called when something could not be saved. Reads never fail for that.
func (r *Registry) failed(err error) {
	if !errors.Is(err, blockstore.ErrFull) {
		r.troubled(err)
		return
	}
	freed, trimErr := r.trim(r.ctx)
	if trimErr == nil && freed.Bytes > 0 {
		r.troubled(nil)
		return
	}
	r.troubled(errors.Join(err, trimErr))
	select {
	case <-time.After(trimPause):
	case <-r.ctx.Done():
	}
}

// troubled notes what is wrong with the store, nil for nothing, and logs what is new.
func (r *Registry) troubled(err error) {
	text := sentence(err)
	r.mu.Lock()
	was := r.trouble
	r.trouble = text
	r.mu.Unlock()
	if text != "" && was == "" && !r.isClosed() {
		r.cfg.Log.Error("the store could not keep what was loaded; reads go on", slog.String("error", text))
	}
}

// trim brings the store under its limits. What a source cannot give again is no cache.
func (r *Registry) trim(ctx context.Context) (blockstore.Freed, error) {
	disks := map[uint64]record{}
	for _, v := range r.Volumes() {
		for _, rec := range v.record().rests() {
			disks[rec.ID] = rec
		}
	}
	for _, img := range r.Images() { // whose word on the disk they share with volumes counts
		disks[img.id] = img.record()
	}
	for _, rec := range disks {
		if rec.State != Active || rec.Load == None || rec.Kept || rec.Hydrating {
			continue
		}
		err := r.cfg.Store.SetEvictable(rec.ID, rec.stands(ctx, r.cfg.Sources) == nil)
		if err != nil && !errors.Is(err, iofs.ErrNotExist) { // no disk yet, or no longer
			return blockstore.Freed{}, err
		}
	}
	return r.cfg.Store.Trim(ctx)
}

// dropStrays deletes the disks and indexes of images and volumes that a kill did not let be deleted.
func (r *Registry) dropStrays() error {
	known := func(id uint64) bool {
		return slices.ContainsFunc(r.Images(), func(img *Image) bool { return img.id == id }) ||
			slices.ContainsFunc(r.Volumes(), func(v *Volume) bool {
				return slices.ContainsFunc(v.rec.rests(), func(rec record) bool { return rec.ID == id })
			})
	}
	if r.cfg.Indexes != nil {
		if err := r.cfg.Indexes.Sweep(known); err != nil {
			return err
		}
	}
	if r.cfg.Store == nil {
		return nil
	}
	disks, err := r.cfg.Store.Disks()
	if err != nil {
		return err
	}
	for _, disk := range disks {
		if !known(disk) {
			if err := r.cfg.Store.Delete(disk); err != nil {
				return err
			}
		}
	}
	return nil
}

// note is what a rebuild of the store without its database can tell of the image.
func (rec record) note() string {
	kept := record{Name: rec.Name, Source: rec.Source, Format: rec.Format, Snapshot: rec.Snapshot, Backing: rec.Backing, Beside: rec.Beside, Registered: rec.Registered, Meta: rec.Meta, Identity: rec.Identity,
		Allocated: rec.Allocated, ClusterSize: rec.ClusterSize, Compression: rec.Compression, Indexed: rec.Indexed, Load: rec.Load,
		Committed: rec.Committed, SourceSize: rec.SourceSize}
	b, err := json.Marshal(kept)
	if err != nil || len(b) > blockstore.MaxNote {
		return ""
	}
	return string(b)
}

// The verbs of the store.

func (r *Registry) onStore(verb string, work func(context.Context, *job) error) error {
	if r.cfg.Store == nil {
		return refuse(errors.ErrUnsupported, "there is no block store here")
	}
	r.changes.Lock()
	defer r.changes.Unlock()
	return r.launch(&r.job, verb, func(ctx context.Context, j *job) error {
		err := work(ctx, j)
		if err != nil {
			r.setError(sentence(fmt.Errorf("%s: %w", verb, err)))
		}
		return err
	})
}

func (r *Registry) verify(context.Context, []string) error {
	return r.onStore("verify", func(ctx context.Context, j *job) error {
		var found []error
		err := r.cfg.Store.Verify(ctx,
			func(done, total int64) { j.progress(float64(done)/float64(max(total, 1)), done*blockstore.BlockSize) },
			func(damage error) { found = append(found, damage) })
		if len(found) > 0 {
			r.cfg.Log.Warn("verify found damage", slog.Int("blocks", len(found)), slog.String("first", sentence(found[0])))
			err = errors.Join(err, fmt.Errorf("%d blocks are damaged and out of use until they are loaded again, the first: %w", len(found), found[0]))
		}
		return err
	})
}

func (r *Registry) sweep(context.Context, []string) error {
	return r.onStore("sweep", func(ctx context.Context, _ *job) error { return r.freed("swept")(r.cfg.Store.Sweep(ctx)) })
}

func (r *Registry) compact(context.Context, []string) error {
	return r.onStore("compact", func(ctx context.Context, _ *job) error { return r.freed("compacted")(r.cfg.Store.Compact(ctx)) })
}

// freed logs what was given back.
func (r *Registry) freed(what string) func(blockstore.Freed, error) error {
	return func(f blockstore.Freed, err error) error {
		if err == nil {
			r.cfg.Log.Info(what, slog.Int64("blocks", f.Blocks), slog.Int64("bytes", f.Bytes))
		}
		return err
	}
}

func (r *Registry) cancelJob(context.Context, []string) error { return cancelJob(r.jobAt(&r.job)) }

// Job is the line of the latest job on the store, "" if there was none since the start.
func (r *Registry) Job() string {
	if j := r.jobAt(&r.job); j != nil {
		return j.line()
	}
	return ""
}
