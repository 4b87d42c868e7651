package lifecycle

import (
	"context"
	"errors"
	iofs "io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// The registry trims its block store when something did not fit, and logs what went wrong once.

const (
	// trimPause is how long a store that could not be trimmed is left alone: other programs may
	// fill the disk.
	trimPause = 10 * time.Second
	// sourcePatience is how long trim waits for the sources. One that does not answer by then
	// counts as changed, so its blocks stay.
	sourcePatience = 2 * time.Second
)

// followSaver acts on the saver's failures until the registry is closed.
func (r *Registry) followSaver(ctx context.Context) {
	if _, err := r.trim(ctx); err != nil { // the limit may be a new one
		r.setTrouble(err)
	}
	for {
		select {
		case err := <-r.cfg.Loader.SaveFailures():
			r.saveFailed(ctx, err)
		case <-ctx.Done():
			return
		}
	}
}

// saveFailed is called when something could not be saved. Reads never fail for that.
func (r *Registry) saveFailed(ctx context.Context, err error) {
	if !errors.Is(err, blockstore.ErrFull) {
		r.setTrouble(err)
		return
	}
	freed, trimErr := r.trim(ctx)
	if trimErr == nil && freed.Bytes > 0 {
		r.setTrouble(nil)
		return
	}
	r.setTrouble(errors.Join(err, trimErr))
	select {
	case <-time.After(trimPause):
	case <-ctx.Done():
	}
}

// setTrouble notes why the store does not work, nil if it does, and logs each new reason.
func (r *Registry) setTrouble(err error) {
	text := command.Sentence(err)
	r.mu.Lock()
	was := r.trouble
	r.trouble = text
	r.mu.Unlock()
	if text != "" && was == "" && !r.runner.Closing() {
		r.cfg.Log.Error("the store could not keep what was loaded; reads go on", slog.String("error", text))
	}
}

// trim brings the store under its limits. Only blocks that a source can give again may go.
func (r *Registry) trim(ctx context.Context) (blockstore.Freed, error) {
	disks := r.cacheDisks()
	unchanged := r.unchangedSources(ctx, disks)
	for id := range disks {
		err := r.cfg.Store.SetEvictable(id, unchanged[id])
		if err != nil && !errors.Is(err, iofs.ErrNotExist) { // no disk yet, or no longer
			return blockstore.Freed{}, err
		}
	}
	return r.cfg.Store.Trim(ctx)
}

// cacheDisks returns the disks whose blocks may be a cache of their sources.
func (r *Registry) cacheDisks() map[uint64]catalog.Base {
	disks := map[uint64]catalog.Base{}
	for _, v := range r.Volumes() {
		for _, base := range v.record().Bases() {
			disks[base.ID] = base
		}
	}
	for _, img := range r.Images() { // an image's record counts, and not a volume's copy of it
		delete(disks, img.id)
		if rec := img.record(); rec.State == catalog.Active {
			base := rec.Base()
			base.Hydrating = rec.Hydrating
			disks[img.id] = base
		}
	}
	for id, base := range disks {
		if base.Load == catalog.None || base.Kept || base.Hydrating {
			delete(disks, id)
		}
	}
	return disks
}

// unchangedSources reports for each disk whether its source is unchanged. It asks
// all sources at once, and waits for none longer than sourcePatience.
func (r *Registry) unchangedSources(ctx context.Context, disks map[uint64]catalog.Base) map[uint64]bool {
	ctx, cancel := context.WithTimeout(ctx, sourcePatience)
	defer cancel()
	var mu sync.Mutex // guards unchanged, which answers that come late leave alone
	unchanged, late := map[uint64]bool{}, false
	var waiting sync.WaitGroup
	for id, base := range disks {
		if !r.ask(id) {
			continue
		}
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			defer r.answered(id)
			err := base.Unchanged(ctx, r.cfg.Sources)
			mu.Lock()
			defer mu.Unlock()
			if !late {
				unchanged[id] = err == nil
			}
		}()
	}
	all := make(chan struct{})
	go func() {
		waiting.Wait()
		close(all)
	}()
	select {
	case <-all:
	case <-ctx.Done():
	}
	mu.Lock()
	defer mu.Unlock()
	late = true
	return unchanged
}

// ask reports whether a disk's source may be asked: not while an earlier question is open.
func (r *Registry) ask(id uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asking[id] {
		return false
	}
	r.asking[id] = true
	return true
}

func (r *Registry) answered(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.asking, id)
}
