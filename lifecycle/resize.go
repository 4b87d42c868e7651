package lifecycle

import (
	"context"
	"errors"
	iofs "io/fs"

	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// resize is the verb. The record has the new size first; the next opening of the disk completes a
// resize that was cut off.
func (v *Volume) resize(ctx context.Context, args *command.Args) (plan, error) {
	size, was := args.Int("SIZE", 0), v.Size()
	switch {
	case size < was && !args.Has("force"):
		return plan{}, command.Refuse(iofs.ErrPermission, "it would lose all after byte %d of %d (%q does it)", size, was, "resize "+args.Text("SIZE")+" force")
	case size == was:
		return plan{}, nil
	case size < was:
		return v.shrink(ctx, size)
	}
	h, err := v.Open(ctx)
	if err != nil {
		return plan{}, err
	}
	p := v.change(func(rec *catalog.Volume) { rec.Size = size })
	p.Then = func(context.Context) error { return errors.Join(h.Resize(size), h.Close()) }
	p.Drop = func() { _ = h.Close() } // done already unless the record was not written
	return p, nil
}

// shrink makes the disk smaller, and keeps it closed to all meanwhile.
func (v *Volume) shrink(ctx context.Context, size int64) (plan, error) {
	release, err := v.closedToAll(ctx)
	if err != nil {
		return plan{}, err
	}
	d, err := v.openDisk(ctx)
	if err != nil {
		release()
		return plan{}, err
	}
	p := v.change(func(rec *catalog.Volume) { rec.Size = size })
	p.Then = func(context.Context) error { return d.Resize(size) }
	p.Drop = func() {
		v.use.mu.Lock()
		defer v.use.mu.Unlock()
		defer release()
		if err := v.shut(); err != nil {
			v.reg.cfg.Log.Warn("closing a volume", append(v.attrs(), "error", command.Sentence(err))...)
		}
	}
	return p, nil
}
