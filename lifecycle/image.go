package lifecycle

import (
	"context"
	"fmt"
	iofs "io/fs"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Image is a registered image. It is safe for concurrent use, and goes on answering after it is deleted.
type Image struct {
	r     *Registry
	id    uint64       // and its disk's in the store
	slot  *slot        // where its disk is while it is open
	opens atomic.Int64 // handles on it; those of volumes that rest on the disk do not count

	// Guarded by r.mu.
	rec     record
	job     *job   // the latest, nil if there was none since the start
	lastErr string // of the latest command, or job
	trouble string // why the disk could not be opened the last time, "" if it could
	index   indexing
}

func newImage(r *Registry, rec record) *Image {
	return &Image{r: r, id: rec.ID, slot: r.disks.rest(rec.ID), rec: rec, lastErr: rec.Error}
}

// record returns a copy of the record as it is now.
func (i *Image) record() record {
	i.r.mu.RLock()
	defer i.r.mu.RUnlock()
	return i.rec
}

// ID is the image's number: never given to another image, kept through renames.
func (i *Image) ID() uint64 { return i.id }

// Name is what it is called now.
func (i *Image) Name() string { return i.record().Name }

// State is where it is in its life.
func (i *Image) State() State { return i.record().State }

// Size is the virtual size in bytes, 0 before it is active.
func (i *Image) Size() int64 { return i.record().Size }

// Allocated is how many bytes of the disk are stored, 0 before it is active.
func (i *Image) Allocated() int64 { return i.record().Allocated }

// Registered is when it was registered, in UTC.
func (i *Image) Registered() time.Time { return i.record().Registered }

// Meta lists every attribute there is, in order, with "" for what nobody said.
func (i *Image) Meta() []Attribute {
	return allAttributes(i.record().Meta)
}

func allAttributes(meta map[string]string) []Attribute {
	all := make([]Attribute, len(attributes))
	for n, a := range attributes {
		all[n] = Attribute{a.key, meta[a.key]}
	}
	return all
}

// Job is the line of the latest job, "" if there was none since the start: see docs/control-files.md.
func (i *Image) Job() string {
	i.r.mu.RLock()
	j := i.job
	i.r.mu.RUnlock()
	if j == nil {
		return ""
	}
	return j.line()
}

// LastError is the sentence of the last command on this image, or of its job that failed since; "" if all went well.
func (i *Image) LastError() string {
	i.r.mu.RLock()
	defer i.r.mu.RUnlock()
	return i.lastErr
}

// Verbs lists the commands that may be used on the image now, a line each.
func (i *Image) Verbs() string { return usage(imageVerbs, i.State()) }

// Do runs one command on the image. Its error is one sentence, and is what LastError says until the next command.
func (i *Image) Do(ctx context.Context, line string) error {
	i.r.changes.Lock()
	defer i.r.changes.Unlock()
	i.setError("") // before: a job that the command starts may have failed by the time the command is through
	err := told(i.perform(ctx, line))
	if err != nil {
		i.setError(sentence(err))
	}
	return err
}

func (i *Image) setError(text string) {
	i.r.mu.Lock()
	defer i.r.mu.Unlock()
	i.lastErr = text
}

func (i *Image) perform(ctx context.Context, line string) error {
	rec := i.record()
	if rec.State == Deleted {
		return refuse(iofs.ErrClosed, "the image %q was deleted", rec.Name)
	}
	return perform(ctx, imageVerbs, i, rec.State, line)
}

// The verbs run under r.changes.

func (i *Image) delete(context.Context, []string) error {
	rec := i.record()
	if rec.Meta["protected"] == "yes" {
		return refuse(iofs.ErrPermission, "the image %q is protected: say %q first", rec.Name, "set protected no")
	}
	if err := i.r.remove(i); err != nil {
		return err
	}
	i.r.mu.RLock()
	j := i.job
	i.r.mu.RUnlock()
	if j != nil {
		j.cancel()
	}
	i.r.cfg.Log.Info("deleted", imageAttrs(i)...)
	return nil
}

func (i *Image) rename(_ context.Context, words []string) error {
	name, old := words[0], i.Name()
	if err := checkName(name); err != nil {
		return err
	}
	if name == old {
		return nil
	}
	if other, err := i.r.Image(name); err == nil {
		return refuse(iofs.ErrExist, "the name %q is taken by image %d", name, other.id)
	}
	if err := i.r.update(i, func(rec *record) { rec.Name = name }); err != nil {
		return err
	}
	i.r.cfg.Log.Info("renamed", append(imageAttrs(i), "from", old)...)
	return nil
}

func (i *Image) set(_ context.Context, words []string) error {
	key, value := words[0], words[1]
	if err := checkAttribute(key, value); err != nil {
		return err
	}
	return i.r.update(i, func(rec *record) { rec.Meta = with(rec.Meta, key, value) })
}

// with returns a copy of meta in which key has the value, or is missing if that is "".
func with(meta map[string]string, key, value string) map[string]string {
	changed := maps.Clone(meta)
	if changed == nil {
		changed = map[string]string{}
	}
	changed[key] = value
	if value == "" {
		delete(changed, key)
	}
	return changed
}

// Open returns a handle on the disk. The source must still be what was registered: one that is missing, was replaced,
// written to or truncated is an error (source.ErrChanged or the operating system's), and so is an image that is not
// active (ErrBusy) or was deleted (iofs.ErrClosed). ctx ends the waiting and the opening, not the handle.
func (i *Image) Open(ctx context.Context) (*Handle, error) {
	rec := i.record()
	if err := rec.openable(); err != nil {
		return nil, err
	}
	h, err := i.r.openRecord(ctx, rec, i.slot)
	if err != nil {
		err = fmt.Errorf("image %q: %w", rec.Name, err)
	} else {
		h = i.counted(h)
	}
	if ctx.Err() == nil {
		i.r.mu.Lock()
		i.trouble = sentence(err)
		i.r.mu.Unlock()
	}
	return h, err
}

// counted makes a handle count as one of the image's.
func (i *Image) counted(h *Handle) *Handle {
	i.opens.Add(1)
	return &Handle{h.Disk, h.origin, sync.OnceValue(func() error {
		defer i.opens.Add(-1)
		return h.Close()
	})}
}

func (rec record) openable() error {
	switch rec.State {
	case Active:
		return nil
	case Killed:
		return fmt.Errorf("image %q was not registered: %s", rec.Name, rec.Error)
	case Deleted:
		return refuse(iofs.ErrClosed, "the image %q was deleted", rec.Name)
	}
	return refuse(ErrBusy, "image %q is %s: it is still being registered", rec.Name, rec.State)
}

// openRecord returns a handle on the disk that a record tells of, which is kept in a slot.
func (r *Registry) openRecord(ctx context.Context, rec record, s *slot) (*Handle, error) {
	complete, err := r.disks.complete(rec)
	if err != nil {
		return nil, err
	}
	if !complete {
		if err := rec.stands(ctx, r.cfg.Sources); err != nil {
			return nil, err
		}
	}
	return r.disks.handle(ctx, s, func() (*disk, error) { return r.disks.open(ctx, rec) })
}
