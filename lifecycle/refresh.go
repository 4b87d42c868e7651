package lifecycle

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/pool"
)

// compared is how many stored blocks a refresh compares with the source.
const compared = 64

// refresh is the verb. A source whose file was moved away and back, touched or restored from a copy
// has another time of change, which could as well be that of a write. So its disk is refused until an
// operator says that it is the same. Blocks that the store has must confirm it.
func (i *Image) refresh(ctx context.Context, _ *command.Args) (plan, error) {
	rec := i.record()
	if rec.Path == "" {
		return plan{}, command.Refuse(errors.ErrUnsupported, "the image %q was committed, and has no source", rec.Name)
	}
	probe, err := i.reg.pool.Probe(ctx, rec.ID, rec.Source)
	if err != nil {
		return plan{}, err
	}
	now := rec
	probe.Fill(ctx, &now.Source, &now.Disk)
	err = i.checkSameDisk(ctx, rec, now, probe)
	if err = errors.Join(err, probe.Discard()); err != nil {
		return plan{}, err
	}
	return plan{
		Apply: func(tx *catalog.Tx) error { return tx.ChangeSource(i.id, now.Source) },
		Then: func(context.Context) error {
			i.reg.pool.Forget(i.slot)
			i.reg.cfg.Log.Info("refreshed", append(i.attrs(), slog.Int64("size", rec.Size))...)
			return nil
		},
	}, nil
}

// checkSameDisk refuses a source that is not what the image was made of, as far as that shows.
func (i *Image) checkSameDisk(ctx context.Context, rec, now catalog.Image, probe *pool.Probe) error {
	if size := rec.DiskSize(rec.Size); now.Size != size || now.Format != rec.Format {
		return command.Refuse(iofs.ErrInvalid, "the source is a %s disk of %d bytes, and was a %s disk of %d: register it under another name",
			now.Format, now.Size, rec.Format, size)
	}
	store := i.reg.cfg.Store
	if store == nil || !rec.Stored() || rec.Committed { // a volume changed a committed disk
		return nil
	}
	total := blockstore.Blocks(rec.Size)
	for n := range min(compared, total) {
		block := n * total / min(compared, total)
		entry, err := store.Lookup(rec.ID, block)
		if err != nil || entry.State != blockstore.Data && entry.State != blockstore.Zero {
			continue // nothing is known of it
		}
		p := make([]byte, min(blockstore.BlockSize, rec.Size-block*blockstore.BlockSize))
		if err := probe.ReadAt(ctx, p, block*blockstore.BlockSize); err != nil {
			return fmt.Errorf("reading the source: %w", err)
		}
		if blockstore.EntryOf(p) != entry {
			return command.Refuse(iofs.ErrInvalid, "the source has other bytes at %d than the store: register it under another name", block*blockstore.BlockSize)
		}
	}
	return nil
}
