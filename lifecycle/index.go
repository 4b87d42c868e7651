package lifecycle

import (
	"context"
	"errors"
	iofs "io/fs"
	"log/slog"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/chain"
)

// An image without random access of its own (formats.Indexed) gets an index: a pass over its source makes it, behind the
// readers, who are right without it too. It is used from then on, and by every daemon after this one.

// IndexState is what an image's status says of its index.
type IndexState string

// Of an image that needs none there is nothing to say.
const (
	IndexNone     IndexState = "none"     // there is none: the image is complete in the store, or making one failed
	IndexBuilding IndexState = "building" // the pass is made, or waits for its turn
	IndexReady    IndexState = "ready"
)

// indexing is what an image has of its index; guarded by Registry.mu.
type indexing struct {
	state   IndexState // "" if it needs none
	trouble string     // why there is none
	final   bool       // it is not tried again before the next start, as the source is damaged
}

// indexer makes indexes, one after the other.
type indexer struct {
	wanted []*Image           // guarded by Registry.mu
	begun  *Image             // guarded by Registry.mu
	stop   context.CancelFunc // of the one that was begun
	wake   chan struct{}      // holds a token if something came
}

// indexed is the layer of a chain that wants an index. Only the last can: an image with a backing image has tables.
func indexed(c *chain.Chain) formats.Indexed {
	layers := c.Layers()
	ix, _ := layers[len(layers)-1].(formats.Indexed)
	return ix
}

// attach makes a chain that was just opened use its index. What is wrong with that harms no read.
func (o *origin) attach(ctx context.Context, c *chain.Chain) {
	ix := indexed(c)
	if ix == nil || o.pool.indexes == nil {
		return
	}
	var err error
	o.index, err = o.pool.indexes.Use(ctx, o.id, ix)
	o.pool.attached(o.id, err)
}

// makeIndex makes the index of an origin, and uses it, unless it has it.
func (o *origin) makeIndex(ctx context.Context) error {
	if _, err := o.open(ctx); err != nil {
		return err
	}
	o.mu.Lock()
	c, have := o.chain, o.index != nil
	o.mu.Unlock()
	ix := indexed(c)
	if have || ix == nil {
		return nil
	}
	if err := o.pool.indexes.Make(ctx, o.id, ix); err != nil {
		return err
	}
	f, err := o.pool.indexes.Use(ctx, o.id, ix)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.index = f
	return err
}

// detach gives the index back, and drops one that reads gave up; the caller holds mu.
func (o *origin) detach() error {
	if o.index == nil {
		return nil
	}
	err := o.index.Close()
	o.index = nil
	if !indexed(o.chain).UsesIndex() {
		err = errors.Join(err, o.pool.indexes.Remove(o.id))
		o.pool.attached(o.id, errDamagedIndex)
	}
	return err
}

// errDamagedIndex is what reads found out.
var errDamagedIndex = errors.New("the index was damaged")

// wantsIndex tells whether the open image does.
func (o *origin) wantsIndex() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return indexed(o.chain) != nil
}

// attached is told of each source that was opened and wants an index: nil if it got it.
func (r *Registry) attached(id uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, img := range r.images {
		switch {
		case img.id != id:
		case err == nil:
			img.index = indexing{state: IndexReady}
		default:
			if !errors.Is(err, iofs.ErrNotExist) {
				r.cfg.Log.Warn("the index is made again", slog.Uint64("id", id), slog.String("error", sentence(err)))
			}
			r.want(img)
		}
	}
}

// want has an image's index made, unless that has failed for good; the caller holds mu.
func (r *Registry) want(img *Image) {
	if img.index.state == IndexBuilding || img.index.final {
		return
	}
	img.index = indexing{state: IndexBuilding}
	r.indexer.wanted = append(r.indexer.wanted, img)
	select {
	case r.indexer.wake <- struct{}{}:
	default:
	}
}

// wantIndex has the index of an image made that became active, or was so when the registry was opened, and has none.
func (r *Registry) wantIndex(img *Image) {
	if r.cfg.Indexes == nil || !img.record().Indexed {
		return
	}
	have := r.cfg.Indexes.Has(img.id)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case img.rec.State != Active:
	case have && img.index.state == "":
		img.index.state = IndexReady
	case !have:
		r.want(img)
	}
}

// makeIndexes makes what is wanted until the registry is closed.
func (r *Registry) makeIndexes() {
	for {
		select {
		case <-r.indexer.wake:
		case <-r.ctx.Done():
			return
		}
		for img := r.nextWanted(); img != nil && r.ctx.Err() == nil; img = r.nextWanted() {
			ctx, stop := context.WithCancel(r.ctx)
			r.mu.Lock()
			r.indexer.begun, r.indexer.stop = img, stop
			r.mu.Unlock()
			r.indexMade(img, img.makeIndex(ctx))
			stop()
		}
	}
}

func (r *Registry) nextWanted() *Image {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.indexer.begun = nil
	for len(r.indexer.wanted) > 0 {
		img := r.indexer.wanted[0]
		r.indexer.wanted = r.indexer.wanted[1:]
		if img.rec.State == Active {
			return img
		}
		img.index.state = "" // its registration asks again, if it goes well
	}
	return nil
}

// errComplete is why an image gets no index.
var errComplete = errors.New("all of it is in the store")

func (i *Image) makeIndex(ctx context.Context) error {
	switch complete, err := i.r.disks.complete(i.record()); {
	case err != nil:
		return err
	case complete:
		return errComplete
	}
	h, err := i.Open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(h.origin.makeIndex(ctx), h.Close())
}

// indexMade notes how a pass ended.
func (r *Registry) indexMade(img *Image, err error) {
	r.mu.Lock()
	state := img.rec.State
	switch {
	case err == nil:
		img.index = indexing{state: IndexReady}
	case errors.Is(err, errComplete):
		img.index = indexing{state: IndexNone}
	default:
		img.index = indexing{IndexNone, sentence(err), errors.Is(err, formats.ErrCorrupt)}
	}
	r.mu.Unlock()
	switch {
	case state == Deleted:
		if !r.disks.rested(img.id) { // it may have come after all who needed it had gone
			r.dropIndex(img.id)
		}
	case err == nil:
		r.cfg.Log.Info("indexed", imageAttrs(img)...)
	case !errors.Is(err, errComplete) && !r.isClosed():
		r.cfg.Log.Warn("index", append(imageAttrs(img), slog.String("error", sentence(err)))...)
	}
}

// stopIndexing ends what is done for the index of an image that was deleted.
func (r *Registry) stopIndexing(img *Image) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.indexer.begun == img {
		r.indexer.stop()
	}
}

func (r *Registry) dropIndex(id uint64) {
	if err := r.cfg.Indexes.Remove(id); err != nil {
		r.cfg.Log.Warn("deleting an index", slog.Uint64("id", id), slog.String("error", sentence(err)))
	}
}

// indexStatus adds what is to be told of an image's index.
func (l *lines) index(x indexing) {
	if x.state == "" {
		return
	}
	l.add("index", x.state)
	if x.trouble != "" {
		l.add("index_error", x.trouble)
	}
}
