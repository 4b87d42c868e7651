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
)

// maxIdle is how many disks are kept open that nobody has open: tables in memory, and a file descriptor each.
const maxIdle = 16

// maxIdleTime is how long such a disk is kept: long enough for the next of a row of commands, short enough for who wants
// to unmount the file system with the source.
const maxIdleTime = 10 * time.Second

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
	allow   []string // directories that names in images may lead into
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

func newPool(set formats.Set, allow []string, loader *lazyload.Loader, store blockstore.Store) *pool {
	return &pool{formats: set, allow: allow, loader: loader, store: store, slots: map[uint64]*slot{}, idle: list.New()}
}

// origin is where a record says that its image is.
func (p *pool) origin(rec record) *origin {
	return &origin{id: rec.ID, pool: p, path: rec.Source, cfg: chain.Config{
		Formats: p.formats, Format: rec.Format, Snapshot: rec.Snapshot, Backing: rec.Backing, Maps: true, AllowDirs: p.allow,
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
			return false, fmt.Errorf("what was committed is lost: the store has nothing of it: %w", err)
		}
		return false, p.create(rec)
	}
	return err == nil && st.Complete(), err
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

// handle returns a handle on the disk in a slot; open is called, by one at a time, if it is empty.
func (p *pool) handle(ctx context.Context, s *slot, open func() (*disk, error)) (*Handle, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if h := p.share(s); h != nil {
		return h, nil
	}
	d, err := open()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	d.slot, s.disk = s, d
	return p.hold(d), nil
}

// share returns a handle on the disk in a slot, nil if there is none.
func (p *pool) share(s *slot) *Handle {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.disk == nil {
		return nil
	}
	return p.hold(s.disk)
}

// hold makes a handle on a disk; the caller holds mu.
func (p *pool) hold(d *disk) *Handle {
	d.refs++
	p.unidle(d)
	return &Handle{d.Disk, d.origin, sync.OnceValue(func() error { return p.release(d) })}
}

// release takes a handle back. What must be closed is closed outside the lock: that waits for loads.
func (p *pool) release(d *disk) error {
	p.mu.Lock()
	d.refs--
	old := p.settle(d)
	p.mu.Unlock()
	return closeDisk(old)
}

// keep puts a disk that was just opened, and is used by nobody, into the slot of an image that nobody can open yet. It
// returns the disk that is to be closed for it, if any.
func (p *pool) keep(s *slot, d *disk) *disk {
	p.mu.Lock()
	defer p.mu.Unlock()
	d.slot, s.disk = s, d
	return p.settle(d)
}

// rest returns the place of a disk, for one more image or volume to rest on it.
func (p *pool) rest(id uint64) *slot {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.slots[id]
	if s == nil {
		s = &slot{id: id, turn: make(chan struct{}, 1)}
		p.slots[id] = s
	}
	s.users++
	return s
}

// leave ends that for one of them. With the last one the disk ends too, now or with its last handle: then the caller does what is
// left to be done.
func (p *pool) leave(s *slot) (last bool, end func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.users--; s.users > 0 {
		return false, func() error { return nil }
	}
	delete(p.slots, s.id)
	if s.disk == nil {
		return true, func() error { return p.erase(s) }
	}
	if d := p.settle(s.disk); d != nil {
		return true, d.close
	}
	return true, func() error { return nil }
}

// rested tells whether an image or a volume rests on the disk of that number.
func (p *pool) rested(id uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.slots[id] != nil
}

// discard takes a disk that nobody has open out of its slot, for the caller to close; nil if there is none.
func (p *pool) discard(s *slot) *disk {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.disk == nil || s.disk.refs > 0 {
		return nil
	}
	return p.drop(s.disk)
}

// expire closes a disk that has been idle for long.
func (p *pool) expire(d *disk) {
	p.mu.Lock()
	if d.idle == nil || p.closed {
		p.mu.Unlock()
		return
	}
	p.drop(d)
	p.expiring.Add(1)
	p.mu.Unlock()
	defer p.expiring.Done()
	_ = d.close() // a file that was only read has nothing to lose
}

// settle finds the place of a disk whose handles or slot changed, and returns the one that is to be closed for it, if
// any; the caller holds mu.
func (p *pool) settle(d *disk) *disk {
	switch {
	case d.refs > 0:
		return nil
	case d.slot.users == 0 || p.closed:
		return p.drop(d)
	case d.idle == nil:
		d.idle = p.idle.PushFront(d)
		d.expiry = time.AfterFunc(maxIdleTime, func() { p.expire(d) })
	}
	if p.idle.Len() > maxIdle {
		return p.drop(p.idle.Back().Value.(*disk))
	}
	return nil
}

// drop takes a disk that nobody uses out of the pool; the caller holds mu.
func (p *pool) drop(d *disk) *disk {
	p.unidle(d)
	d.slot.disk = nil
	return d
}

// unidle takes a disk out of the idle ones, if it is one; the caller holds mu.
func (p *pool) unidle(d *disk) {
	if d.idle == nil {
		return
	}
	p.idle.Remove(d.idle)
	d.idle = nil
	d.expiry.Stop()
}

// close closes the idle disks, and lets each other one close with its last handle.
func (p *pool) close() error {
	p.mu.Lock()
	p.closed = true
	var old []*disk
	for p.idle.Len() > 0 {
		old = append(old, p.drop(p.idle.Front().Value.(*disk)))
	}
	p.mu.Unlock()
	p.expiring.Wait()
	var errs []error
	for _, d := range old {
		errs = append(errs, d.close())
	}
	return errors.Join(errs...)
}

func closeDisk(d *disk) error {
	if d == nil {
		return nil
	}
	return d.close()
}
