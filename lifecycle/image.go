package lifecycle

import (
	"context"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/job"
	"github.com/imsfs/imsfs/lifecycle/pool"
)

// Image is a registered image. It is safe for concurrent use, and goes on answering after it is
// deleted.
type Image struct {
	reg   *Registry
	id    uint64 // and its disk's in the store
	slot  *pool.Slot
	jobs  job.Slot
	opens atomic.Int64 // handles on it, without those of volumes that rest on the disk

	mu      sync.Mutex    // guards the following, which the record does not say
	gone    catalog.Image // the last record of an image that was deleted
	saving  bool          // the registration is past the queue
	killed  string        // why the registration failed, if that could not be written
	trouble string        // why the disk could not be opened the last time, "" if it could
}

// registerVerb is the verb whose job makes the image active.
const registerVerb = "register"

// adoptImage makes the image of a number known to the registry. It can be looked up once the
// catalog has its record.
func (r *Registry) adoptImage(id uint64) *Image {
	img := &Image{reg: r, id: id, slot: r.pool.Acquire(id)}
	img.jobs.Ended = img.logJob
	rec, _ := r.catalog.Image(id)
	if rec.Error != "" {
		img.jobs.SetError(fmt.Errorf("%s: %s", registerVerb, rec.Error))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.images[id] = img
	return img
}

// disown takes back an adoption, or ends one: the disk goes with the last who rests on it.
func (r *Registry) disown(img *Image) {
	r.mu.Lock()
	delete(r.images, img.id)
	r.mu.Unlock()
	r.pool.Release(img.slot)
}

// record returns a copy of the record as it is now.
func (i *Image) record() catalog.Image {
	rec, ok := i.reg.catalog.Image(i.id)
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case !ok:
		return i.gone
	case rec.State != catalog.Queued:
	case i.killed != "":
		rec.State, rec.Error = catalog.Killed, i.killed
	case i.saving:
		rec.State = catalog.Saving
	}
	return rec
}

// ID returns the image's number: never given to another image, kept through renames.
func (i *Image) ID() uint64 { return i.id }

// Name returns its name as it is now.
func (i *Image) Name() string { return i.record().Name }

// State returns where it is in its life, or iofs.ErrClosed if it was deleted.
func (i *Image) State() (catalog.State, error) {
	rec := i.record()
	if rec.State == catalog.Deleted {
		return rec.State, command.Refuse(iofs.ErrClosed, "the image %q was deleted", rec.Name)
	}
	return rec.State, nil
}

// Deleted reports whether the image was deleted.
func (i *Image) Deleted() bool { return i.record().State == catalog.Deleted }

// Size returns the virtual size in bytes, 0 before it is active.
func (i *Image) Size() int64 { return i.record().Size }

// Allocated returns how many bytes of the disk hold data, 0 before it is active.
func (i *Image) Allocated() int64 { return i.record().Allocated }

// Registered returns when it was registered, in UTC.
func (i *Image) Registered() time.Time { return i.record().Registered }

// Meta lists every attribute, in order, with "" for one that was not set.
func (i *Image) Meta() []Attribute { return allAttributes(i.record().Meta) }

func (i *Image) attrs() []any {
	rec := i.record()
	return []any{slog.Uint64("id", rec.ID), slog.String("image", rec.Name), slog.String("source", rec.Path)}
}

// logJob logs how a job ended. A registration has lines of its own.
func (i *Image) logJob(verb string, err error) {
	switch {
	case verb == registerVerb:
	case err == nil:
		i.reg.cfg.Log.Info(verb, i.attrs()...)
	case !i.reg.runner.Closing():
		i.reg.cfg.Log.Warn(verb, append(i.attrs(), slog.String("error", command.Sentence(err)))...)
	}
}

// change is the plan of a verb that only changes the image's record.
func (i *Image) change(to func(*catalog.Image) error, then func()) plan {
	p := plan{Apply: func(tx *catalog.Tx) error { return tx.ChangeImage(i.id, to) }}
	if then != nil {
		p.Then = func(context.Context) error { then(); return nil }
	}
	return p
}

// delete is the verb. Open disks go on; the disk goes with the last of them.
func (i *Image) delete(context.Context, *command.Args) (plan, error) {
	return plan{
		Apply: func(tx *catalog.Tx) error {
			rec, err := tx.Image(i.id)
			if err != nil {
				return err
			}
			if rec.Meta["protected"] == "yes" {
				return command.Refuse(iofs.ErrPermission, "the image %q is protected (%q first)", rec.Name, "set protected no")
			}
			return i.leave(tx, rec)
		},
		Then: func(context.Context) error {
			i.reg.disown(i)
			i.jobs.CancelAny()
			i.reg.cfg.Log.Info("deleted", i.attrs()...)
			return nil
		},
	}, nil
}

// leave removes the record, after keeping a copy for callers that still hold the image.
func (i *Image) leave(tx *catalog.Tx, rec catalog.Image) error {
	i.mu.Lock()
	i.gone = rec
	i.gone.State = catalog.Deleted
	i.mu.Unlock()
	return tx.RemoveImage(i.id)
}

// rename is the verb.
func (i *Image) rename(_ context.Context, args *command.Args) (plan, error) {
	name, old := args.Text("NAME"), i.Name()
	if name == old {
		return plan{}, nil
	}
	return i.change(func(rec *catalog.Image) error { rec.Name = name; return nil }, func() {
		i.reg.cfg.Log.Info("renamed", append(i.attrs(), slog.String("from", old))...)
	}), nil
}

// set is the verb.
func (i *Image) set(_ context.Context, args *command.Args) (plan, error) {
	key, value := args.Text("KEY"), args.Text("VALUE")
	if err := command.CheckOption(attributeOptions(), key, value); err != nil {
		return plan{}, err
	}
	return i.change(func(rec *catalog.Image) error { rec.Meta = catalog.With(rec.Meta, key, value); return nil }, nil), nil
}

// clone is the verb of an image.
func (i *Image) clone(_ context.Context, args *command.Args) (plan, error) {
	rec := i.record()
	size := args.Int("size", rec.Size)
	if size < rec.Size {
		return plan{}, command.Refuse(iofs.ErrInvalid, "size=%d is less than the image's (%d bytes)", size, rec.Size)
	}
	base := rec.Base()
	return i.reg.addVolume(catalog.Volume{
		Name: args.Text("VOLUME"), Size: size, From: rec.Name, Base: &base,
		About: catalog.About{Meta: catalog.With(rec.Meta, "protected", "")},
	})
}

// Open returns a handle on the disk. The source must be unchanged since the registration: one that
// is missing, was replaced, written to or truncated is an error (source.ErrChanged or the operating
// system's), and so is an image that is not active (command.ErrBusy) or was deleted
// (iofs.ErrClosed). ctx ends the waiting and the opening, not the handle.
func (i *Image) Open(ctx context.Context) (*pool.Handle, error) {
	rec := i.record()
	if err := openable(rec); err != nil {
		return nil, err
	}
	h, err := i.reg.pool.Open(ctx, rec.Base(), i.slot)
	if err != nil {
		err = fmt.Errorf("image %q: %w", rec.Name, err)
	} else {
		i.opens.Add(1)
		h = h.Counted(func() { i.opens.Add(-1) })
	}
	if ctx.Err() == nil {
		i.mu.Lock()
		i.trouble = command.Sentence(err)
		i.mu.Unlock()
	}
	return h, err
}

func openable(rec catalog.Image) error {
	switch rec.State {
	case catalog.Active:
		return nil
	case catalog.Killed:
		return fmt.Errorf("image %q was not registered: %s", rec.Name, rec.Error)
	case catalog.Deleted:
		return command.Refuse(iofs.ErrClosed, "the image %q was deleted", rec.Name)
	}
	return command.Refuse(command.ErrBusy, "image %q is %s: it is still being registered", rec.Name, rec.State)
}
