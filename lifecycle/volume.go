package lifecycle

import (
	"context"
	"errors"
	iofs "io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/job"
	"github.com/imsfs/imsfs/lifecycle/pool"
)

// Volume is a named, writable disk: deltas over the disk of the image that it was cloned from, or
// over nothing. It does not need that image any more: it rests on the same disk of the store, and
// knows its source. It is safe for concurrent use, and goes on answering after it is deleted.
type Volume struct {
	reg  *Registry
	id   uint64
	jobs job.Slot
	use  use
	// The disks that it rests on: the base of its deltas, and the base that a revert goes back to
	// if that is another; nil if there is none. Guarded by use.mu.
	base, origin *pool.Slot

	mu     sync.Mutex     // guards the following
	gone   catalog.Volume // the last record of a volume that was deleted
	damage string         // why it can only be read, "" if nothing is wrong
}

// adoptVolume makes a volume known to the registry. It can be looked up once the catalog has its
// record.
func (r *Registry) adoptVolume(rec catalog.Volume) *Volume {
	v := &Volume{reg: r, id: rec.ID, use: newUse(), base: r.restOn(rec.Base), origin: r.restOn(rec.Origin)}
	v.jobs.Ended = v.logJob
	r.mu.Lock()
	defer r.mu.Unlock()
	r.volumes[rec.ID] = v
	return v
}

// restOn acquires the slot of a base, nil for none.
func (r *Registry) restOn(base *catalog.Base) *pool.Slot {
	if base == nil {
		return nil
	}
	return r.pool.Acquire(base.ID)
}

// disownVolume takes back an adoption, or ends one.
func (r *Registry) disownVolume(v *Volume) {
	r.mu.Lock()
	delete(r.volumes, v.id)
	r.mu.Unlock()
	v.restOnly(nil, nil)
}

// restOnly makes the volume rest on these slots, which it has acquired, and on no others.
func (v *Volume) restOnly(base, origin *pool.Slot) {
	u := &v.use
	u.mu.Lock()
	gone := []*pool.Slot{v.base, v.origin}
	v.base, v.origin = base, origin
	u.mu.Unlock()
	for _, s := range gone {
		if s != nil {
			v.reg.pool.Release(s)
		}
	}
}

func (v *Volume) record() catalog.Volume {
	if rec, ok := v.reg.catalog.Volume(v.id); ok {
		return rec
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.gone
}

// ID returns the volume's number: never given to another volume or image, kept through renames.
func (v *Volume) ID() uint64 { return v.id }

// Name returns its name as it is now.
func (v *Volume) Name() string { return v.record().Name }

// Size returns the disk's size in bytes.
func (v *Volume) Size() int64 { return v.record().Size }

// Created returns when it was created, in UTC.
func (v *Volume) Created() time.Time { return v.record().Created }

// Deleted reports whether the volume was deleted.
func (v *Volume) Deleted() bool {
	_, ok := v.reg.catalog.Volume(v.id)
	return !ok
}

// Meta lists every attribute, in order, with "" for one that was not set.
func (v *Volume) Meta() []Attribute { return allAttributes(v.record().Meta) }

// State returns which verbs may be used, or iofs.ErrClosed if the volume was deleted.
func (v *Volume) State() (catalog.State, error) {
	if v.Deleted() {
		return catalog.Deleted, command.Refuse(iofs.ErrClosed, "the volume %q was deleted", v.Name())
	}
	return v.usableAs(), nil
}

// Damage returns why the volume can only be read, "" if nothing is known to be wrong.
func (v *Volume) Damage() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.damage
}

// setDamage notes why the volume can only be read; nil clears it.
func (v *Volume) setDamage(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.damage = command.Sentence(err)
}

func (v *Volume) attrs() []any {
	rec := v.record()
	return []any{slog.Uint64("id", rec.ID), slog.String("volume", rec.Name)}
}

// logJob logs a job that failed.
func (v *Volume) logJob(verb string, err error) {
	if err != nil && !v.reg.runner.Closing() {
		v.reg.cfg.Log.Warn(verb, append(v.attrs(), slog.String("error", command.Sentence(err)))...)
	}
}

// change is the plan of a verb that only changes the volume's record.
func (v *Volume) change(to func(*catalog.Volume)) plan {
	return plan{Apply: func(tx *catalog.Tx) error {
		return tx.ChangeVolume(v.id, func(rec *catalog.Volume) error { to(rec); return nil })
	}}
}

// update changes the volume's record in a transaction of its own.
func (v *Volume) update(to func(*catalog.Volume)) error {
	return v.reg.catalog.Update(v.change(to).Apply)
}

// create is the verb of the store.
func (r *Registry) create(_ context.Context, args *command.Args) (plan, error) {
	return r.addVolume(catalog.Volume{Name: args.Text("VOLUME"), Size: args.Int("size", 0)})
}

// addVolume is the plan that makes a volume of a record without numbers. Its delta is made before
// the record names it.
func (r *Registry) addVolume(rec catalog.Volume) (p plan, err error) {
	if r.cfg.Volumes == "" {
		return p, command.Refuse(errors.ErrUnsupported, "volumes are not kept here")
	}
	if err := r.catalog.VolumeNameFree(rec.Name); err != nil {
		return p, err
	}
	if rec.ID, err = r.catalog.Next(); err != nil {
		return p, err
	}
	delta, err := r.newDelta(rec.Size)
	if err != nil {
		return p, err
	}
	rec.Deltas, rec.Created = []uint64{delta}, r.cfg.Now().UTC()
	v := r.adoptVolume(rec)
	added := false
	return plan{
		Apply: func(tx *catalog.Tx) error {
			if err := checkBase(tx, rec.Base); err != nil {
				return err
			}
			return tx.AddVolume(rec)
		},
		Then: func(context.Context) error {
			added = true
			r.cfg.Log.Info("created", append(v.attrs(), slog.String("from", rec.From), slog.Int64("size", rec.Size))...)
			return nil
		},
		Drop: func() {
			if !added {
				r.disownVolume(v)
				r.removeDeltas(v.attrs(), []uint64{delta})
			}
		},
	}, nil
}

// checkBase refuses a clone of an image that was deleted meanwhile: its disk may be gone.
func checkBase(tx *catalog.Tx, base *catalog.Base) error {
	if base == nil {
		return nil
	}
	_, err := tx.Image(base.ID)
	return err
}

// newDelta makes an empty delta.
func (r *Registry) newDelta(size int64) (uint64, error) {
	n, err := r.catalog.Next()
	if err != nil {
		return 0, err
	}
	return n, r.deltas.Create(n, size, size)
}

// removeDeltas removes deltas that no record names any more. One that stays is removed when the
// store is next opened.
func (r *Registry) removeDeltas(attrs []any, deltas []uint64) {
	for _, n := range deltas {
		if err := r.deltas.Remove(n); err != nil {
			r.cfg.Log.Warn("removing a delta", append(attrs, slog.String("error", command.Sentence(err)))...)
		}
	}
}

// delete is the verb.
func (v *Volume) delete(context.Context, *command.Args) (plan, error) {
	var rec catalog.Volume
	return plan{
		Apply: func(tx *catalog.Tx) (err error) {
			if rec, err = tx.Volume(v.id); err != nil {
				return err
			}
			if rec.Meta["protected"] == "yes" {
				return command.Refuse(iofs.ErrPermission, "the volume %q is protected (%q first)", rec.Name, "set protected no")
			}
			v.mu.Lock()
			v.gone = rec
			v.mu.Unlock()
			return tx.RemoveVolume(v.id)
		},
		Then: func(context.Context) error {
			v.reg.disownVolume(v)
			if err := v.reg.deltas.RemoveNote(rec.ID); err != nil {
				v.reg.cfg.Log.Warn("removing a volume's note", append(v.attrs(), slog.String("error", command.Sentence(err)))...)
			}
			v.reg.removeDeltas(v.attrs(), rec.Deltas)
			v.reg.cfg.Log.Info("deleted", v.attrs()...)
			return nil
		},
	}, nil
}

// rename is the verb.
func (v *Volume) rename(_ context.Context, args *command.Args) (plan, error) {
	name, old := args.Text("NAME"), v.Name()
	if name == old {
		return plan{}, nil
	}
	p := v.change(func(rec *catalog.Volume) { rec.Name = name })
	p.Then = func(context.Context) error {
		v.reg.cfg.Log.Info("renamed", append(v.attrs(), slog.String("from", old))...)
		return nil
	}
	return p, nil
}

// set is the verb.
func (v *Volume) set(_ context.Context, args *command.Args) (plan, error) {
	key, value := args.Text("KEY"), args.Text("VALUE")
	if err := command.CheckOption(volumeOptions(), key, value); err != nil {
		return plan{}, err
	}
	return v.change(func(rec *catalog.Volume) {
		switch key {
		case "shared":
			rec.Shared = value == "yes"
		case "owner":
			rec.Owner = value
		default:
			rec.Meta = catalog.With(rec.Meta, key, value)
		}
	}), nil
}

// revert is the verb: a new, empty delta takes the place of all deltas, over the base that the
// volume had before its first snapshot.
func (v *Volume) revert(context.Context, *command.Args) (plan, error) {
	delta, err := v.reg.newDelta(v.Size())
	if err != nil {
		return plan{}, err
	}
	var old catalog.Volume
	done := false
	return plan{
		Apply: func(tx *catalog.Tx) error {
			return tx.ChangeVolume(v.id, func(rec *catalog.Volume) error {
				old, rec.Deltas = *rec, []uint64{delta}
				if rec.Snapped {
					rec.Base, rec.Snapped, rec.Origin = rec.Origin, false, nil
				}
				return nil
			})
		},
		Then: func(context.Context) error {
			done = true
			v.reverted(old)
			return nil
		},
		Drop: func() {
			if !done {
				v.reg.removeDeltas(v.attrs(), []uint64{delta})
			}
		},
	}, nil
}

// reverted releases the deltas and the base from before a revert.
func (v *Volume) reverted(old catalog.Volume) {
	rec := v.record()
	if old.Snapped {
		v.restOnly(v.reg.restOn(rec.Base), nil)
	}
	v.reg.removeDeltas(v.attrs(), old.Deltas)
	v.use.mu.Lock()
	v.use.deltaBytes = 0
	v.use.mu.Unlock()
	v.setDamage(v.checkCommitted(rec))
	v.reg.cfg.Log.Info("reverted", v.attrs()...)
}

// written returns how many bytes the volume's deltas have.
func (v *Volume) written() int64 {
	v.inspectDeltas()
	u := &v.use
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.disk != nil {
		return u.disk.Allocated()
	}
	return max(u.deltaBytes, 0)
}

// Allocated returns how many bytes of the disk hold data, at most: the written bytes, and the
// image's.
func (v *Volume) Allocated() int64 {
	rec, n := v.record(), v.written()
	if rec.Base != nil {
		n += rec.Base.Allocated
	}
	return min(n, rec.Size)
}
