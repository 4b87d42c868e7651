package lifecycle

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"strings"

	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/lazyload/overlay"
)

// A commit makes an image of what a volume has at one moment, while the volume goes on. The image's disk in the store begins as the
// one the volume rests on, and gets the blocks that were changed; what is absent is the source's still, which the image has from its
// base. Until the one transaction that publishes it there is nothing of the image but a disk in the store that no record names; and
// the volume reads the same all the time.

// commit is the verb: IMAGE [KEY=VALUE ...]. A job.
func (v *Volume) commit(_ context.Context, words []string) error {
	r := v.r
	if r.cfg.Store == nil {
		return refuse(errors.ErrUnsupported, "there is no block store here")
	}
	rec := v.record().committed()
	rec.Name, rec.Registered = words[0], r.cfg.Now().UTC()
	if err := r.free(rec.Name); err != nil {
		return err
	}
	for _, w := range words[1:] {
		key, value, ok := strings.Cut(w, "=")
		if !ok {
			return refuse(ErrUsage, "%q is not KEY=VALUE", w)
		}
		if err := checkAttribute(key, value); err != nil {
			return err
		}
		rec.Meta = with(rec.Meta, key, value)
	}
	return r.launch(&v.job, "commit", func(ctx context.Context, j *job) error {
		err := v.commitAs(ctx, j, rec)
		if err != nil {
			r.mu.Lock()
			v.lastErr = sentence(fmt.Errorf("commit: %w", err))
			r.mu.Unlock()
		}
		return err
	})
}

// committed is the record of an image of the volume, but for its numbers, size and name.
func (rec volumeRecord) committed() record {
	made := record{Format: "raw", ClusterSize: 1}
	if rec.Base != nil {
		made = *rec.Base
		made.SourceSize = made.sourceSize()
	}
	made.ID, made.State, made.Load, made.Kept, made.Committed = 0, Active, Lazy, true, true
	made.Meta = rec.Meta
	return made
}

// free refuses a name that an image cannot have.
func (r *Registry) free(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if other, err := r.Image(name); err == nil {
		return refuse(iofs.ErrExist, "the name %q is taken by image %d", name, other.id)
	}
	return nil
}

func (v *Volume) commitAs(ctx context.Context, j *job, rec record) error {
	h, err := v.Open(ctx, false)
	if err != nil {
		return err
	}
	frozen, err := v.freeze(h.Disk)
	if err == nil {
		rec.Size = frozen.Size()
		rec.ID, err = v.r.ids.Next()
	}
	if err == nil {
		at := v.r.disks.rest(rec.ID) // which goes again, and the disk with it, if there is no image in the end
		if err = v.save(ctx, j, frozen, &rec); err == nil {
			err = v.publish(ctx, h.Disk, rec)
		}
		v.r.leaveDisk(at)
	}
	return errors.Join(err, h.Close())
}

// freeze puts a new delta on top. The record names it before anything is written to it.
func (v *Volume) freeze(d *overlay.Disk) (*overlay.Frozen, error) {
	r := v.r
	r.changes.Lock()
	defer r.changes.Unlock()
	n, err := r.newDelta(d.Size())
	if err != nil {
		return nil, err
	}
	files, err := r.deltas.Open(n)
	if err != nil {
		return nil, err
	}
	old := v.record().Deltas
	if err := r.updateVolume(v, func(rec *volumeRecord) { rec.Deltas = append([]uint64{n}, old...) }); err != nil {
		return nil, errors.Join(err, files.Close(), r.deltas.Remove(n))
	}
	frozen, err := d.Freeze(files)
	if err != nil { // the volume goes on without it
		err = errors.Join(err, files.Close(), r.updateVolume(v, func(rec *volumeRecord) { rec.Deltas = old }))
	}
	return frozen, err
}

// publish makes the image and puts the volume on it, in one transaction; then the frozen deltas go.
func (v *Volume) publish(ctx context.Context, d *overlay.Disk, rec record) error {
	r := v.r
	at := r.disks.rest(rec.ID)
	handle, err := r.openRecord(ctx, rec, at)
	if err == nil {
		if err = v.enter(d, rec, at, handle); err != nil {
			err = errors.Join(err, handle.Close())
		}
	}
	if err != nil {
		r.leaveDisk(at)
	}
	return err
}

// enter makes the records say so, and lets the volume rest on the disk.
func (v *Volume) enter(d *overlay.Disk, rec record, at *slot, base *Handle) error {
	r := v.r
	r.changes.Lock()
	defer r.changes.Unlock()
	if err := r.free(rec.Name); err != nil {
		return err
	}
	old := v.record()
	now := old
	now.From, now.Base, now.Deltas = rec.Name, rec.base(), old.Deltas[:1:1]
	if err := r.write(func(tx *kv.WriteTx) error { return errors.Join(rec.put(tx), now.put(tx)) }); err != nil {
		return err
	}
	img := newImage(r, rec)
	r.publish(img, rec)
	r.mu.Lock()
	v.rec = now
	r.mu.Unlock()
	v.rebase(d, base, at, old)
	r.wantIndex(img)
	r.cfg.Log.Info("committed", append(volumeAttrs(v), "image", rec.Name, "size", rec.Size)...)
	return nil
}

// rebase lets the volume rest on the image, and drops what it rested on.
func (v *Volume) rebase(d *overlay.Disk, base *Handle, at *slot, old volumeRecord) {
	if _, err := d.Rebase(base.Disk); err != nil {
		v.r.cfg.Log.Warn("closing a delta", append(volumeAttrs(v), "error", err)...)
	}
	v.use.mu.Lock()
	was, wasAt := v.use.base, v.base
	v.use.base, v.base = base, at
	v.use.mu.Unlock()
	if was != nil {
		v.r.end(was.Close)
	}
	if old.Base != nil {
		v.r.leaveDisk(wasAt)
	}
	v.dropDeltas(old.Deltas[1:])
}
