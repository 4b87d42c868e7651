package lifecycle

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"strings"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/overlay"
)

// A commit makes an image of what a volume has at one moment, while the volume goes on. The image is complete in the store and has
// no source: what the volume's own image would give for a block is not what was committed. Until the one transaction that publishes
// it there is nothing of the image but a disk in the store that no record names; and the volume reads the same all the time.

// commit is the verb: IMAGE [KEY=VALUE ...]. A job.
func (v *Volume) commit(_ context.Context, words []string) error {
	r := v.r
	if r.cfg.Store == nil {
		return refuse(errors.ErrUnsupported, "there is no block store here")
	}
	now := r.cfg.Now().UTC()
	rec := record{Name: words[0], State: Active, Registered: now, Load: Lazy, Kept: true, Format: "raw", ClusterSize: 1, Meta: v.record().Meta}
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
		err = v.save(ctx, j, frozen, &rec)
	}
	if err == nil {
		err = v.publish(ctx, h.Disk, rec)
	}
	if err != nil && rec.ID != 0 {
		err = errors.Join(err, v.r.cfg.Store.Delete(rec.ID))
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

// saveStep is how much is read and saved at once.
const saveStep = 32 * blockstore.BlockSize

// save brings what was frozen into a new disk of the store, whose number is the image's. What the store has already is hashed, not stored.
func (v *Volume) save(ctx context.Context, j *job, frozen *overlay.Frozen, rec *record) (err error) {
	store := v.r.cfg.Store
	if rec.ID, err = v.r.ids.Next(); err != nil {
		return err
	}
	if err := store.Create(rec.ID, rec.Size, rec.note()); err != nil {
		return err
	}
	buf := make([]byte, saveStep)
	for off := int64(0); off < rec.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		zeros, err := zeroBlocks(ctx, frozen, off)
		if err != nil {
			return err
		}
		n := zeros
		if zeros > 0 {
			err = store.Zero(ctx, rec.ID, off, n)
		} else {
			n = min(saveStep, rec.Size-off)
			if _, err = frozen.ReadAt(ctx, buf[:n], off); err == nil {
				err = store.Save(ctx, rec.ID, off, buf[:n])
			}
			rec.Allocated += n
		}
		if err != nil {
			return err
		}
		off += n
		j.progress(float64(off)/float64(rec.Size), rec.Allocated)
	}
	return nil
}

// maxZeroRun is how many zeros are entered at once.
const maxZeroRun = 16 << 30

// zeroBlocks returns how many bytes at off, whole blocks or up to the end, are known to be zeros.
func zeroBlocks(ctx context.Context, frozen *overlay.Frozen, off int64) (int64, error) {
	size := frozen.Size()
	most := min(maxZeroRun, size-off)
	n := int64(0)
	for n < most {
		e, err := frozen.Extent(ctx, off+n, most-n)
		if err != nil {
			return 0, err
		}
		if e.State == formats.Data {
			return n / blockstore.BlockSize * blockstore.BlockSize, nil
		}
		n += e.Len
	}
	return n, nil
}

// publish makes the image and puts the volume on it, in one transaction; then the frozen deltas go.
func (v *Volume) publish(ctx context.Context, d *overlay.Disk, rec record) error {
	r := v.r
	r.changes.Lock()
	defer r.changes.Unlock()
	if err := r.free(rec.Name); err != nil {
		return err
	}
	old := v.record()
	now := old
	now.From, now.Base, now.Deltas = rec.Name, rec.base(), old.Deltas[:1:1]
	at := r.disks.rest(rec.ID)
	handle, err := r.openRecord(ctx, rec, at)
	if err == nil {
		err = r.write(func(tx *kv.WriteTx) error { return errors.Join(rec.put(tx), now.put(tx)) })
		if err != nil {
			err = errors.Join(err, handle.Close())
		}
	}
	if err != nil {
		r.leaveDisk(at)
		return err
	}
	r.publish(newImage(r, rec), rec)
	r.mu.Lock()
	v.rec = now
	r.mu.Unlock()
	v.rebase(d, handle, at, old)
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
