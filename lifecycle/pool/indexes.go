package pool

import (
	"context"
	"errors"
	iofs "io/fs"
	"log/slog"
	"sync"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/index"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// IndexState says whether an image without random access of its own (formats.Indexed) has an index.
type IndexState string

// The states. An image that needs no index has none of them.
const (
	IndexNone     IndexState = "none"     // the image is complete in the store, or the pass failed
	IndexBuilding IndexState = "building" // a pass over the source runs, or waits for its turn
	IndexReady    IndexState = "ready"
)

var (
	// errComplete is why an image gets no index.
	errComplete = errors.New("all of it is in the store")
	// errDamagedIndex is what reads found out.
	errDamagedIndex = errors.New("the index was damaged")
)

// indexing is the state of one disk's index.
type indexing struct {
	state   IndexState
	trouble string // why there is none
	final   bool   // the source is damaged: no other pass before the next start
}

// Indexes makes the indexes of disks, one after the other, by a pass over each source. Readers need
// not wait for it: they are right without an index too.
type Indexes struct {
	dir  *index.Dir // nil: there are none
	pool *Pool
	wake chan struct{} // holds a token if something is wanted

	mu     sync.Mutex // guards the following
	disks  map[uint64]indexing
	wanted []catalog.Base
	begun  uint64             // the disk whose pass runs, 0 if none does
	stop   context.CancelFunc // of that pass
}

func newIndexes(p *Pool) *Indexes {
	return &Indexes{dir: p.cfg.Indexes, pool: p, wake: make(chan struct{}, 1), disks: map[uint64]indexing{}}
}

// Indexes returns the pool's.
func (p *Pool) Indexes() *Indexes { return p.indexes }

// State returns the state of a disk's index, "" if it needs none, and why there is none if that is
// a failure.
func (x *Indexes) State(disk uint64) (state IndexState, trouble string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.disks[disk].state, x.disks[disk].trouble
}

// Want has the index of a disk made, if it needs one and has none.
func (x *Indexes) Want(base catalog.Base) {
	if x.dir == nil || !base.Indexed {
		return
	}
	have := x.dir.Has(base.ID)
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case !have:
		x.want(base)
	case x.disks[base.ID].state == "":
		x.disks[base.ID] = indexing{state: IndexReady}
	}
}

// want queues a disk, unless it is queued or a pass failed for good; the caller holds mu.
func (x *Indexes) want(base catalog.Base) {
	if now := x.disks[base.ID]; now.state == IndexBuilding || now.final {
		return
	}
	x.disks[base.ID] = indexing{state: IndexBuilding}
	x.wanted = append(x.wanted, base)
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// attached notes whether a source that was opened got its index: err is nil, or why not. base is
// nil for a source that is being registered: Want follows.
func (x *Indexes) attached(disk uint64, base *catalog.Base, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case err == nil:
		x.disks[disk] = indexing{state: IndexReady}
	case base == nil:
	default:
		if !errors.Is(err, iofs.ErrNotExist) {
			x.pool.cfg.Log.Warn("the index is made again", slog.Uint64("id", disk), slog.String("error", command.Sentence(err)))
		}
		if now := x.disks[disk]; now.state == IndexReady {
			x.disks[disk] = indexing{state: IndexNone}
		}
		x.want(*base)
	}
}

// Drop forgets a disk that nothing rests on: its pass ends and its index is removed.
func (x *Indexes) Drop(disk uint64) {
	if x.dir == nil {
		return
	}
	x.mu.Lock()
	delete(x.disks, disk)
	if x.begun == disk {
		x.stop()
	}
	x.mu.Unlock()
	if err := x.dir.Remove(disk); err != nil {
		x.pool.cfg.Log.Warn("deleting an index", slog.Uint64("id", disk), slog.String("error", command.Sentence(err)))
	}
}

// Sweep removes the indexes of disks that are not known.
func (x *Indexes) Sweep(known func(disk uint64) bool) error {
	if x.dir == nil {
		return nil
	}
	return x.dir.Sweep(known)
}

// Run makes the indexes that are wanted until ctx ends.
func (x *Indexes) Run(ctx context.Context) {
	for {
		select {
		case <-x.wake:
		case <-ctx.Done():
			return
		}
		for base, pass, ok := x.next(ctx); ok; base, pass, ok = x.next(ctx) {
			x.ended(ctx, base, x.pass(pass, base))
		}
	}
}

// next begins the pass over the next disk that is wanted and still rested on.
func (x *Indexes) next(ctx context.Context) (base catalog.Base, pass context.Context, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stop != nil {
		x.stop()
	}
	x.begun, x.stop = 0, nil
	for len(x.wanted) > 0 && ctx.Err() == nil {
		base, x.wanted = x.wanted[0], x.wanted[1:]
		if x.disks[base.ID].state != IndexBuilding { // dropped meanwhile
			continue
		}
		x.begun = base.ID
		pass, x.stop = context.WithCancel(ctx)
		return base, pass, true
	}
	return base, nil, false
}

// pass makes one index.
func (x *Indexes) pass(ctx context.Context, base catalog.Base) error {
	switch complete, err := x.pool.Complete(base); {
	case err != nil:
		return err
	case complete:
		return errComplete
	}
	s := x.pool.slot(base.ID)
	if s == nil {
		return context.Canceled
	}
	h, err := x.pool.Open(ctx, base, s)
	if err != nil {
		return err
	}
	return errors.Join(h.origin.makeIndex(ctx), h.Close())
}

// ended notes how a pass ended.
func (x *Indexes) ended(ctx context.Context, base catalog.Base, err error) {
	log := x.pool.cfg.Log.With(slog.Uint64("id", base.ID), slog.String("source", base.Path))
	if x.pool.slot(base.ID) == nil { // the index may have appeared after its disk was dropped
		x.Drop(base.ID)
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case err == nil:
		x.disks[base.ID] = indexing{state: IndexReady}
		log.Info("indexed")
	case errors.Is(err, errComplete):
		x.disks[base.ID] = indexing{state: IndexNone}
	default:
		x.disks[base.ID] = indexing{IndexNone, command.Sentence(err), errors.Is(err, formats.ErrCorrupt)}
		if ctx.Err() == nil {
			log.Warn("index", slog.String("error", command.Sentence(err)))
		}
	}
}
