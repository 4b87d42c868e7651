package lifecycle

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"sync"
	"time"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/lazyload/chain"
	"github.com/imsfs/imsfs/lazyload/index"
	"github.com/imsfs/imsfs/lazyload/source"
)

// Handle is one user's hold on an image's disk. It reads on when the image is renamed or deleted, until Close.
type Handle struct {
	*lazyload.Disk
	origin   *origin
	giveBack func() error
}

// Close gives the disk back; no read by this handle may be running and none of its views be held. More calls do
// nothing.
func (h *Handle) Close() error { return h.giveBack() }

// disk is an image that is open.
type disk struct {
	*lazyload.Disk
	origin *origin

	pool *pool
	slot *slot         // where it is kept
	refs int           // handles; guarded by pool.mu
	idle *list.Element // in pool.idle if refs is 0; guarded by pool.mu

	expiry *time.Timer // set while idle; guarded by pool.mu
}

// close gives the source back, and the blocks if nobody rests on the disk any more.
func (d *disk) close() error {
	d.Disk.Close()
	err := d.origin.close()
	d.pool.mu.Lock()
	gone := d.slot != nil && d.slot.users == 0
	d.pool.mu.Unlock()
	if gone {
		err = errors.Join(err, d.pool.erase(d.slot))
	}
	return err
}

// slot is a disk's place while it is open. An image and the volumes that were cloned from it rest on one disk, and share it.
type slot struct {
	id   uint64
	turn chan struct{} // holds a token while someone opens the disk

	// Guarded by pool.mu.
	users int   // images and volumes that rest on the disk; without any it closes with its last handle
	disk  *disk // nil if it is not open
}

// pool opens disks, shares them and keeps those that were used last.
type pool struct {
	formats formats.Set
	sources source.Opener
	loader  *lazyload.Loader
	store   blockstore.Store // nil: there is none

	indexes  *index.Dir                 // nil: there are none
	attached func(id uint64, err error) // told of each image that was opened and wants an index: nil if it got it

	mu     sync.Mutex
	slots  map[uint64]*slot // of disks that somebody rests on
	idle   *list.List       // of *disk, the one used last in front
	closed bool

	expiring sync.WaitGroup // disks being closed after their time
}

func newPool(set formats.Set, sources source.Opener, loader *lazyload.Loader, store blockstore.Store) *pool {
	return &pool{formats: set, sources: sources, loader: loader, store: store, slots: map[uint64]*slot{}, idle: list.New()}
}

// origin is where a record says that its image is.
func (p *pool) origin(rec record) *origin {
	return &origin{id: rec.ID, pool: p, path: rec.Source, cfg: chain.Config{
		Formats: p.formats, Sources: p.sources, Format: rec.Format, Snapshot: rec.Snapshot, Backing: rec.Backing, Maps: true,
	}}
}

// open makes a disk of an active image; it is not in the pool. The source is opened unless the store has all of it.
func (p *pool) open(ctx context.Context, rec record) (*disk, error) {
	o := p.origin(rec)
	o.expect = &rec
	complete, err := p.complete(rec)
	if err != nil {
		return nil, err
	}
	if !complete {
		if _, err := o.open(ctx); err != nil {
			return nil, err
		}
	}
	d, err := p.disk(ctx, rec, o)
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	return d, nil
}

// complete tells whether an image can be read without its source. A disk that the store does not know, because it was
// registered without one or the store lost it, is made there now.
func (p *pool) complete(rec record) (bool, error) {
	if p.store == nil || !rec.stored() {
		return false, nil
	}
	st, err := p.store.Status(rec.ID)
	if errors.Is(err, iofs.ErrNotExist) {
		if rec.Committed {
			return false, lostError(err)
		}
		return false, p.create(rec)
	}
	return err == nil && st.Complete(), err
}

// lost is an error if the store has nothing of a disk whose blocks no source has.
func (p *pool) lost(rec record) error {
	if p.store == nil || !rec.Committed {
		return nil
	}
	if _, err := p.store.Status(rec.ID); errors.Is(err, iofs.ErrNotExist) {
		return lostError(err)
	}
	return nil
}

func lostError(err error) error {
	return fmt.Errorf("what was committed is lost: the store has nothing of it: %w", err)
}

// create makes an image's disk in the store.
func (p *pool) create(rec record) error {
	if p.store == nil || !rec.stored() {
		return nil
	}
	if err := p.store.Create(rec.ID, rec.Size, rec.note()); err != nil {
		return err
	}
	return p.store.SetEvictable(rec.ID, rec.Load == Lazy)
}

// disk makes a disk of an origin.
func (p *pool) disk(ctx context.Context, rec record, o *origin) (*disk, error) {
	d := &disk{origin: o, pool: p}
	if p.store == nil || !rec.stored() {
		img, err := o.open(ctx)
		if err != nil {
			return nil, err
		}
		d.Disk = p.loader.Open(img)
		return d, nil
	}
	cluster := rec.ClusterSize
	if rec.Compression == "" {
		cluster = 0
	}
	d.Disk = p.loader.OpenStored(lazyload.Stored{Disk: rec.ID, Size: rec.Size, Cluster: cluster, Image: o.open, Changed: rec.Committed})
	return d, nil
}

// erase frees what the store has of a disk that nobody rests on; a sweep gives the space back.
func (p *pool) erase(s *slot) error {
	if p.store == nil {
		return nil
	}
	return p.store.Delete(s.id)
}
