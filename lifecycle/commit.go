package lifecycle

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"strings"

	"github.com/imsfs/imsfs/lazyload/overlay"
)

// A commit makes an image of what a volume has at one moment, while the volume goes on. The image's disk in the store begins as the
// one the volume rests on, and gets the blocks that were changed; what is absent is the source's still, which the image has from its
// base. Until the one transaction that publishes it there is nothing of the image but a disk in the store that no record names; and
// the volume reads the same all the time.

// commitment is what a commit or a snapshot is to make.
type commitment struct {
	verb    string
	name    string
	meta    map[string]string
	quiesce bool // not while somebody has the disk open for writing
	stay    bool // the volume stays what it is: a revert goes back to where it went back to before
}

// commit is the verb: IMAGE [KEY=VALUE ...]. A job.
func (v *Volume) commit(_ context.Context, words []string) error {
	return v.launchCommit(commitment{verb: "commit"}, words)
}

// snapshot is the verb: IMAGE [KEY=VALUE ...]. A job.
func (v *Volume) snapshot(_ context.Context, words []string) error {
	return v.launchCommit(commitment{verb: "snapshot", stay: true}, words)
}

func (v *Volume) launchCommit(c commitment, words []string) error {
	r := v.r
	if r.cfg.Store == nil {
		return refuse(errors.ErrUnsupported, "there is no block store here")
	}
	c.name, c.meta = words[0], v.record().Meta
	if err := r.free(c.name); err != nil {
		return err
	}
	if err := c.choose(words[1:]); err != nil {
		return err
	}
	if err := v.quiet(c); err != nil {
		return err
	}
	return r.launch(&v.job, c.verb, func(ctx context.Context, j *job) error { return v.ended(c.verb, v.commitAs(ctx, j, c)) })
}

// choose takes the words behind the name: attributes, and what is the verb's own.
func (c *commitment) choose(words []string) (err error) {
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		switch {
		case !ok:
			return refuse(ErrUsage, "%q is not KEY=VALUE", w)
		case key == "quiesce":
			c.quiesce, err = yesOrNo(w, value)
		default:
			err = checkAttribute(key, value)
			c.meta = with(c.meta, key, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// quiet refuses what must wait for a writer.
func (v *Volume) quiet(c commitment) error {
	if _, writers := v.handles(); c.quiesce && writers > 0 {
		return refuse(ErrBusy, "somebody has the volume %q open for writing, and quiesce=yes wants that nobody has", v.Name())
	}
	return nil
}

// ended notes a job's failure where people look for it.
func (v *Volume) ended(verb string, err error) error {
	if err != nil {
		v.setError(sentence(fmt.Errorf("%s: %w", verb, err)))
	}
	return err
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

func (v *Volume) commitAs(ctx context.Context, j *job, c commitment) error {
	h, err := v.Open(ctx, false)
	if err != nil {
		return err
	}
	rec := v.record().committed()
	rec.Name, rec.Meta, rec.Registered = c.name, c.meta, v.r.cfg.Now().UTC()
	if err = v.quiet(c); err != nil {
		return errors.Join(err, h.Close())
	}
	frozen, err := v.freeze(h.Disk)
	if err == nil {
		rec.Size = frozen.Size()
		rec.ID, err = v.r.ids.Next()
	}
	if err == nil {
		at := v.r.disks.rest(rec.ID) // which goes again, and the disk with it, if there is no image in the end
		if err = v.save(ctx, j, frozen, &rec); err == nil {
			err = v.publish(ctx, h.Disk, rec, c.stay)
		}
		v.r.leaveDisk(at)
		v.tidy(h.Disk)
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
	if frozen == nil { // the volume goes on without it
		err = errors.Join(err, files.Close(), r.updateVolume(v, func(rec *volumeRecord) { rec.Deltas = old }))
	}
	return frozen, err
}

// publish makes the image and puts the volume on it, in one transaction; then the frozen deltas go.
func (v *Volume) publish(ctx context.Context, d *overlay.Disk, rec record, stay bool) error {
	r := v.r
	at := r.disks.rest(rec.ID)
	handle, err := r.openRecord(ctx, rec, at)
	if err == nil {
		if err = v.enter(d, rec, at, handle, stay); err != nil {
			err = errors.Join(err, handle.Close())
		}
	}
	if err != nil {
		r.leaveDisk(at)
	}
	return err
}

// enter makes the records say so, and lets the volume rest on the disk.
func (v *Volume) enter(d *overlay.Disk, rec record, at *slot, base *Handle, stay bool) error {
	r := v.r
	r.changes.Lock()
	defer r.changes.Unlock()
	if err := r.free(rec.Name); err != nil {
		return err
	}
	old := v.record()
	now := old.on(rec, stay)
	if err := r.putVolume(&old, now, rec.put); err != nil {
		return err
	}
	img := newImage(r, rec)
	r.publish(img, rec)
	v.rebase(d, base, at, now)
	r.wantIndex(img)
	r.cfg.Log.Info("committed", append(volumeAttrs(v), "image", rec.Name, "size", rec.Size)...)
	return nil
}

// on is the record when the volume rests on an image of what it had.
func (rec volumeRecord) on(img record, stay bool) volumeRecord {
	switch {
	case !stay:
		rec.From, rec.Snapped, rec.Origin = img.Name, false, nil
	case !rec.Snapped:
		rec.Snapped, rec.Origin = true, rec.Base
	}
	rec.Base, rec.Deltas = img.base(), rec.Deltas[:1:1]
	return rec
}

// rebase lets the volume rest on the image, and drops what it rested on but for what a revert still needs.
func (v *Volume) rebase(d *overlay.Disk, base *Handle, at *slot, now volumeRecord) {
	old := v.record()
	if _, err := d.Rebase(base.Disk); err != nil {
		v.r.cfg.Log.Warn("closing a delta", append(volumeAttrs(v), "error", err)...)
	}
	v.r.mu.Lock()
	v.rec = now
	v.r.mu.Unlock()
	u := &v.use
	u.mu.Lock()
	was := u.base
	u.base = base
	u.mu.Unlock()
	if was != nil {
		v.r.end(was.Close)
	}
	v.restOn(at, now)
	v.r.jobs.Go(func() { v.dropDeltas(old.Deltas[1:]) }) // 256 MiB take 0.2 s, and everybody waits
}

// restOn makes the volume rest on what its record says, and no more on what it does not. at is the place of the base's disk, which the
// volume rests on by now; nil: there is no base.
func (v *Volume) restOn(at *slot, now volumeRecord) {
	u := &v.use
	u.mu.Lock()
	gone := []*slot{v.base, v.origin}
	v.base, v.origin = at, nil
	if now.Origin != nil {
		v.origin = v.r.disks.rest(now.Origin.ID)
	}
	u.mu.Unlock()
	for _, s := range gone {
		if s != nil {
			v.r.leaveDisk(s)
		}
	}
}
