package lifecycle

import (
	"context"
	iofs "io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/imsfs/imsfs/lazyload/overlay"
)

// Volume is a named, writable disk: what was written to it, over the image that it was cloned from, or over nothing. It
// needs that image no more: it rests on the same disk of the store, and knows its source. It is safe for concurrent use, and goes on
// answering after it is deleted.
type Volume struct {
	r   *Registry
	id  uint64
	use use
	// The disks that it rests on: what its deltas lie on, and what a revert goes back to if that is another; nil if there is none. A
	// commit, which has the disk open, sets others. Guarded by use.mu.
	base, origin *slot

	// Guarded by r.mu.
	rec     volumeRecord
	job     *job // the latest, nil if there was none since the start
	deleted bool
	lastErr string
	damage  string // why it can only be read, "" if nothing is wrong
}

func newVolume(r *Registry, rec volumeRecord) *Volume {
	v := &Volume{r: r, id: rec.ID, rec: rec, use: newUse()}
	if rec.Base != nil {
		v.base = r.disks.rest(rec.Base.ID)
	}
	if rec.Origin != nil {
		v.origin = r.disks.rest(rec.Origin.ID)
	}
	return v
}

func (v *Volume) record() volumeRecord {
	v.r.mu.RLock()
	defer v.r.mu.RUnlock()
	return v.rec
}

// ID is the volume's number: never given to another volume or image, kept through renames.
func (v *Volume) ID() uint64 { return v.id }

// Name is what it is called now.
func (v *Volume) Name() string { return v.record().Name }

// Size is the disk's size in bytes.
func (v *Volume) Size() int64 { return v.record().Size }

// Created is when it was created, in UTC.
func (v *Volume) Created() time.Time { return v.record().Created }

// Deleted tells whether it is no more.
func (v *Volume) Deleted() bool {
	v.r.mu.RLock()
	defer v.r.mu.RUnlock()
	return v.deleted
}

// Meta lists every attribute there is, in order, with "" for what nobody said.
func (v *Volume) Meta() []Attribute { return allAttributes(v.record().Meta) }

// Job is the line of the latest job, "" if there was none since the start.
func (v *Volume) Job() string {
	if j := v.r.jobAt(&v.job); j != nil {
		return j.line()
	}
	return ""
}

// LastError is the sentence of the last command on this volume, or of its job that failed since; "" if all went well.
func (v *Volume) LastError() string {
	v.r.mu.RLock()
	defer v.r.mu.RUnlock()
	return v.lastErr
}

// state is which verbs may be used.
func (v *Volume) state() State {
	v.look()
	v.r.mu.RLock()
	defer v.r.mu.RUnlock()
	if v.damage != "" {
		return Damaged
	}
	return Active
}

// Damage is why the volume can only be read, "" if nothing is known to be wrong.
func (v *Volume) Damage() string {
	v.r.mu.RLock()
	defer v.r.mu.RUnlock()
	return v.damage
}

// Verbs lists the commands that may be used on the volume now, a line each.
func (v *Volume) Verbs() string { return usage(volumeVerbs, v.state()) }

// Do runs one command on the volume. Its error is one sentence, and is what LastError says until the next command.
func (v *Volume) Do(ctx context.Context, line string) error {
	v.awaitClose(ctx, line)
	v.r.changes.Lock()
	defer v.r.changes.Unlock()
	v.setError("") // before: a job that the command starts may have failed by the time the command is through
	err := told(v.perform(ctx, line))
	if err != nil {
		v.setError(sentence(err))
	}
	return err
}

func (v *Volume) setError(text string) {
	v.r.mu.Lock()
	defer v.r.mu.Unlock()
	v.lastErr = text
}

func (v *Volume) perform(ctx context.Context, line string) error {
	if v.Deleted() {
		return refuse(iofs.ErrClosed, "the volume %q was deleted", v.Name())
	}
	return perform(ctx, volumeVerbs, v, v.state(), line)
}

// Volumes returns all volumes by name.
func (r *Registry) Volumes() []*Volume {
	r.mu.RLock()
	defer r.mu.RUnlock()
	volumes := make([]*Volume, 0, len(r.volumes))
	for _, v := range r.volumes {
		volumes = append(volumes, v)
	}
	slices.SortFunc(volumes, func(a, b *Volume) int { return strings.Compare(a.rec.Name, b.rec.Name) })
	return volumes
}

// Volume returns the volume of that name; iofs.ErrNotExist.
func (r *Registry) Volume(name string) (*Volume, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	v, ok := r.volumes[name]
	if !ok {
		return nil, refuse(iofs.ErrNotExist, "there is no volume %q", name)
	}
	return v, nil
}

// updateVolume changes a volume's record, on disk and then for all to see; the caller holds changes.
func (r *Registry) updateVolume(v *Volume, change func(*volumeRecord)) error {
	old := v.record()
	rec := old
	change(&rec)
	if err := r.putVolume(&old, rec); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.volumes, v.rec.Name)
	v.rec = rec
	r.volumes[rec.Name] = v
	return nil
}

func volumeAttrs(v *Volume) []any {
	rec := v.record()
	return []any{slog.Uint64("id", rec.ID), slog.String("volume", rec.Name)}
}

// openDeltas makes the directory of deltas be there and renews the volumes' notes.
func (r *Registry) openDeltas() (err error) {
	if r.cfg.Volumes == "" {
		return nil
	}
	if r.deltas, err = overlay.OpenDir(r.cfg.Volumes); err != nil {
		return err
	}
	return r.renewNotes()
}
