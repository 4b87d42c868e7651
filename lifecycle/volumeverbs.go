package lifecycle

import (
	"context"
	"errors"
	iofs "io/fs"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

var volumeVerbs = []verb[*Volume]{
	{"delete", "", "forget the volume and what was written to it", 0, 0, nil, (*Volume).delete},
	{"rename", "NAME", "give the volume another name", 1, 1, nil, (*Volume).rename},
	{"set", "KEY VALUE", `say something about the volume; shared=yes lets several write to it; "" takes it back`, 2, 2, nil, (*Volume).set},
	{"resize", "SIZE [force]", "make the disk larger, in bytes; or smaller, by force", 1, 2, []State{Active}, (*Volume).resize},
	{"commit", "IMAGE [KEY=VALUE ...]", "make an image of what the volume has now, and rest on it, as a job; quiesce=yes: not while somebody writes", 1, math.MaxInt, []State{Active}, (*Volume).commit},
	{"snapshot", "IMAGE [KEY=VALUE ...]", "make an image of what the volume has now, and let a revert go back to where it does already; a job", 1, math.MaxInt, []State{Active}, (*Volume).snapshot},
	{"export", "FORMAT DEST [KEY=VALUE ...]", "write what the disk has now to a file in a format, as an image's export does; salvage=yes writes zeros for what cannot be read. A job", 2, math.MaxInt, nil, (*Volume).export},
	{"cancel", "", "end the job", 0, 0, nil, (*Volume).cancelJob},
	{"revert", "", "drop all that was written", 0, 0, nil, (*Volume).revert},
}

// The verbs run under r.changes.

// clone is the verb of an image: VOLUME [size=N].
func (i *Image) clone(_ context.Context, words []string) error {
	rec := i.record()
	size, err := askedSize(words[1:], rec.Size)
	switch {
	case err != nil:
		return err
	case size < rec.Size:
		return refuse(iofs.ErrInvalid, "size=%d is less than the image's, %d bytes", size, rec.Size)
	}
	if err := i.r.takesVolumes(words[0]); err != nil {
		return err
	}
	return i.r.addVolume(volumeRecord{Name: words[0], Size: size, From: rec.Name, Base: rec.base(), Meta: with(rec.Meta, "protected", "")})
}

// create is the verb of the store: VOLUME size=N.
func (r *Registry) create(_ context.Context, words []string) error {
	size, err := askedSize(words[1:], 0)
	if err != nil {
		return err
	}
	r.changes.Lock()
	defer r.changes.Unlock()
	if err := r.takesVolumes(words[0]); err != nil {
		return err
	}
	return r.addVolume(volumeRecord{Name: words[0], Size: size})
}

// askedSize is what size=N says, or otherwise.
func askedSize(words []string, otherwise int64) (int64, error) {
	if len(words) == 0 {
		return otherwise, nil
	}
	value, ok := strings.CutPrefix(words[0], "size=")
	if !ok {
		return 0, refuse(ErrUsage, "%q is not size=N", words[0])
	}
	return parseSize(value)
}

// parseSize reads a number of bytes that can be a volume's.
func parseSize(value string) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n <= 0 || n > blockstore.MaxDiskSize || n%512 != 0 {
		return 0, refuse(iofs.ErrInvalid, "a disk of %q bytes: it must be a multiple of 512 from 512 to %d", value, int64(blockstore.MaxDiskSize))
	}
	return n, nil
}

// takesVolumes refuses a volume that cannot be.
func (r *Registry) takesVolumes(name string) error {
	if r.cfg.Volumes == "" {
		return refuse(errors.ErrUnsupported, "there is no place for volumes here")
	}
	if err := checkName(name); err != nil {
		return err
	}
	if other, err := r.Volume(name); err == nil {
		return refuse(iofs.ErrExist, "the name %q is taken by volume %d", name, other.id)
	}
	return nil
}

// addVolume makes a volume of a record that lacks its numbers.
func (r *Registry) addVolume(rec volumeRecord) (err error) {
	if rec.ID, err = r.ids.Next(); err != nil {
		return err
	}
	delta, err := r.newDelta(rec.Size)
	if err != nil {
		return err
	}
	rec.Deltas, rec.Created = []uint64{delta}, r.cfg.Now().UTC()
	if err := r.putVolume(nil, rec); err != nil {
		return errors.Join(err, r.deltas.Remove(delta))
	}
	v := newVolume(r, rec)
	r.mu.Lock()
	r.volumes[rec.Name] = v
	r.mu.Unlock()
	r.cfg.Log.Info("created", append(volumeAttrs(v), "from", rec.From, "size", rec.Size)...)
	return nil
}

// newDelta makes an empty delta.
func (r *Registry) newDelta(size int64) (uint64, error) {
	n, err := r.ids.Next()
	if err != nil {
		return 0, err
	}
	return n, r.deltas.Create(n, size, size)
}

func (v *Volume) delete(ctx context.Context, _ []string) error {
	rec := v.record()
	if rec.Meta["protected"] == "yes" {
		return refuse(iofs.ErrPermission, "the volume %q is protected: say %q first", rec.Name, "set protected no")
	}
	if err := v.unused(ctx); err != nil {
		return err
	}
	defer v.use.giveTurn()
	loose := v.r.dropLeft(rec, volumeRecord{})
	err := v.r.write(func(tx *kv.WriteTx) error { return errors.Join(rec.erase(tx), loose(tx)) })
	if err != nil {
		return err
	}
	v.r.mu.Lock()
	delete(v.r.volumes, rec.Name)
	v.deleted = true
	v.r.mu.Unlock()
	v.restOn(nil, volumeRecord{})
	if err := v.r.deltas.RemoveNote(rec.ID); err != nil {
		v.r.cfg.Log.Warn("removing a volume's note", append(volumeAttrs(v), "error", err)...)
	}
	v.dropDeltas(rec.Deltas)
	v.r.cfg.Log.Info("deleted", volumeAttrs(v)...)
	return nil
}

// dropDeltas removes what no record names any more; what stays is removed when the store is next opened.
func (v *Volume) dropDeltas(deltas []uint64) {
	for _, n := range deltas {
		if err := v.r.deltas.Remove(n); err != nil {
			v.r.cfg.Log.Warn("removing a delta", append(volumeAttrs(v), "error", err)...)
		}
	}
}

// cancelJob is the verb: the job that is running ends as soon as it can.
func (v *Volume) cancelJob(context.Context, []string) error { return cancelJob(v.r.jobAt(&v.job)) }

func (v *Volume) rename(_ context.Context, words []string) error {
	name, old := words[0], v.Name()
	if name == old {
		return nil
	}
	if err := v.r.takesVolumes(name); err != nil {
		return err
	}
	if err := v.r.updateVolume(v, func(rec *volumeRecord) { rec.Name = name }); err != nil {
		return err
	}
	v.r.cfg.Log.Info("renamed", append(volumeAttrs(v), "from", old)...)
	return nil
}

func (v *Volume) set(_ context.Context, words []string) error {
	key, value := words[0], words[1]
	if key == "shared" {
		if value != "yes" && value != "no" && value != "" {
			return refuse(iofs.ErrInvalid, "shared=%s: it must be yes or no", Quote(value))
		}
		return v.r.updateVolume(v, func(rec *volumeRecord) { rec.Shared = value == "yes" })
	}
	if err := checkAttribute(key, value); err != nil {
		return err
	}
	return v.r.updateVolume(v, func(rec *volumeRecord) { rec.Meta = with(rec.Meta, key, value) })
}

// resize is the verb: SIZE [force]. The record says first what the size is to be; whoever opens the disk next ends what was cut off.
func (v *Volume) resize(ctx context.Context, words []string) error {
	size, err := parseSize(words[0])
	was := v.Size()
	switch {
	case err != nil:
		return err
	case len(words) == 2 && words[1] != "force":
		return refuse(ErrUsage, "%q is not force", words[1])
	case size < was && len(words) < 2:
		return refuse(iofs.ErrPermission, "it would lose all that is behind byte %d of %d: say %q", size, was, "resize "+words[0]+" force")
	case size == was:
		return nil
	}
	if err := v.r.idle(v.r.jobAt(&v.job)); err != nil {
		return err
	}
	if size < was {
		return v.shrink(ctx, size)
	}
	h, err := v.Open(ctx, false)
	if err != nil {
		return err
	}
	if err := v.r.updateVolume(v, func(rec *volumeRecord) { rec.Size = size }); err != nil {
		return errors.Join(err, h.Close())
	}
	return errors.Join(h.Resize(size), h.Close())
}

// shrink makes the disk smaller, and lets nobody open it meanwhile.
func (v *Volume) shrink(ctx context.Context, size int64) error {
	if err := v.unused(ctx); err != nil {
		return err
	}
	defer v.use.giveTurn()
	d, err := v.opened(ctx)
	if err != nil {
		return err
	}
	if err = v.r.updateVolume(v, func(rec *volumeRecord) { rec.Size = size }); err == nil {
		err = d.Resize(size)
	}
	v.use.mu.Lock()
	defer v.use.mu.Unlock()
	return errors.Join(err, v.shut())
}

// revert is the verb: a new, empty delta takes the place of all there are, over what the volume lay on before it was snapped.
func (v *Volume) revert(ctx context.Context, _ []string) error {
	if err := v.unused(ctx); err != nil {
		return err
	}
	defer v.use.giveTurn()
	rec := v.record()
	delta, err := v.r.newDelta(rec.Size)
	if err != nil {
		return err
	}
	err = v.r.updateVolume(v, func(rec *volumeRecord) {
		rec.Deltas = []uint64{delta}
		if rec.Snapped {
			rec.Base, rec.Snapped, rec.Origin = rec.Origin, false, nil
		}
	})
	if err != nil {
		return errors.Join(err, v.r.deltas.Remove(delta))
	}
	if rec.Snapped {
		var at *slot
		if rec.Origin != nil {
			at = v.r.disks.rest(rec.Origin.ID)
		}
		v.restOn(at, v.record())
	}
	v.dropDeltas(rec.Deltas)
	v.use.mu.Lock()
	v.use.written = 0
	v.use.mu.Unlock()
	v.found(v.lost(v.record()))
	v.r.cfg.Log.Info("reverted", volumeAttrs(v)...)
	return nil
}

// Status tells what the volume is, in "key value" lines: see docs/control-files.md.
func (v *Volume) Status() string {
	rec, state := v.record(), v.state()
	handles, writers := v.handles()
	var l lines
	l.add("id", rec.ID)
	l.add("name", rec.Name)
	l.add("state", state)
	l.add("size", rec.Size)
	l.add("written", v.written())
	l.add("image", or(rec.From, "none"))
	l.add("created", rec.Created.Format(time.RFC3339))
	l.add("shared", yes(rec.Shared))
	l.add("opens", handles)
	l.add("writers", writers)
	if damage := v.Damage(); damage != "" {
		l.add("error", damage)
	}
	return l.String()
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// written is how many bytes the volume's deltas have.
func (v *Volume) written() int64 {
	v.look()
	u := &v.use
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.disk != nil {
		return u.disk.Allocated()
	}
	return max(u.written, 0)
}

// Allocated is how many bytes of the disk hold data, at most: what was written, and what the image had.
func (v *Volume) Allocated() int64 {
	rec, n := v.record(), v.written()
	if rec.Base != nil {
		n += rec.Base.Allocated
	}
	return min(n, rec.Size)
}
