// Package pool opens the disks of images, shares them between their users, and keeps those that
// were used last.
//
// A Slot is the place of one disk: an image and the volumes cloned from it rest on one disk and
// share it. A Handle is one user's hold on an open disk. A disk closes with its last handle, or
// some time later; when nothing rests on it any more, its blocks and its index go too.
//
//	pool.go     opening a disk: from the store, or from its source
//	share.go    handles and slots; which idle disks stay open
//	origin.go   the source of a disk, opened when it is first needed
//	indexes.go  the indexes of images without random access of their own
//
// The pool knows records (catalog) and no verb. It takes no lock of its callers, and nothing is
// waited for under its own.
package pool

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/lazyload/chain"
	"github.com/imsfs/imsfs/lazyload/index"
	"github.com/imsfs/imsfs/lazyload/source"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// Config holds the parts that a pool works with.
type Config struct {
	Formats formats.Set
	Sources source.Opener
	Loader  *lazyload.Loader
	Store   blockstore.Store // nil: every disk is read through
	Indexes *index.Dir       // nil: there are none
	Log     *slog.Logger
	// Note returns the note that the store is to keep with a disk.
	Note func(catalog.Base) string
	// Go runs work in the background. It reports false, and runs nothing, once the registry is
	// closed.
	Go func(func()) bool
}

// Pool is safe for concurrent use.
type Pool struct {
	cfg     Config
	indexes *Indexes

	mu     sync.Mutex
	slots  map[uint64]*Slot // of disks that something rests on
	idle   *list.List       // of *disk, the one used last first
	closed bool

	expiring sync.WaitGroup // disks being closed after their time
}

// New returns an empty pool.
func New(cfg Config) *Pool {
	p := &Pool{cfg: cfg, slots: map[uint64]*Slot{}, idle: list.New()}
	p.indexes = newIndexes(p)
	return p
}

// Handle is one user's hold on a disk. It reads on when the image is renamed or deleted, until
// Close.
type Handle struct {
	*lazyload.Disk
	origin   *origin
	giveBack func() error
}

// Close gives the disk back. No read by this handle may be running and none of its views be held.
// More calls do nothing.
func (h *Handle) Close() error { return h.giveBack() }

// Counted returns the handle with a function that is called once when it is closed.
func (h *Handle) Counted(closed func()) *Handle {
	return &Handle{h.Disk, h.origin, sync.OnceValue(func() error {
		defer closed()
		return h.Close()
	})}
}

// disk is a disk that is open.
type disk struct {
	*lazyload.Disk
	origin *origin

	pool *Pool
	slot *Slot         // where it is kept
	refs int           // handles; guarded by pool.mu
	idle *list.Element // in pool.idle if refs is 0; guarded by pool.mu

	expiry *time.Timer // set while idle; guarded by pool.mu
}

// close gives the source back, and the blocks if nothing rests on the disk any more.
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

// Open returns a handle on the disk in a slot, which is opened if it is not open. A disk that is
// not complete in the store needs its source unchanged: source.ErrChanged, or an error of the
// operating system. ctx ends the waiting and the opening, not the handle.
func (p *Pool) Open(ctx context.Context, base catalog.Base, s *Slot) (*Handle, error) {
	complete, err := p.Complete(base)
	if err != nil {
		return nil, err
	}
	later := complete
	if !complete {
		err := base.Unchanged(ctx, p.cfg.Sources)
		if err != nil && !p.readable(base, err) {
			return nil, err
		}
		later = err != nil
	}
	return p.handle(ctx, s, func() (*disk, error) { return p.open(ctx, base, later) })
}

// readable reports whether a disk is of use although its source cannot be opened: a host that is
// down may come back, and until then the blocks in the store are read.
func (p *Pool) readable(base catalog.Base, err error) bool {
	return p.cfg.Store != nil && base.Stored() && errors.Is(err, source.ErrUnavailable)
}

// open makes a disk that is in no slot. The source is opened unless later is set:
// then the first read that needs it opens it.
func (p *Pool) open(ctx context.Context, base catalog.Base, later bool) (*disk, error) {
	o := p.newOrigin(base.ID, base.Source)
	o.expect = &base
	if !later {
		if _, err := o.open(ctx); err != nil {
			return nil, err
		}
	}
	d, err := p.newDisk(ctx, base, o)
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	return d, nil
}

// Complete reports whether a disk can be read without its source. A disk that the store does not
// have, because it was registered without a store or the store lost it, is created there now.
func (p *Pool) Complete(base catalog.Base) (bool, error) {
	if p.cfg.Store == nil || !base.Stored() {
		return false, nil
	}
	st, err := p.cfg.Store.Status(base.ID)
	if errors.Is(err, iofs.ErrNotExist) {
		if base.Committed {
			return false, lostError(err)
		}
		return false, p.Create(base, p.cfg.Note(base))
	}
	return err == nil && st.Complete(), err
}

// CheckCommitted returns an error if a committed disk is missing from the store: its blocks exist
// nowhere else.
func (p *Pool) CheckCommitted(base catalog.Base) error {
	if p.cfg.Store == nil || !base.Committed {
		return nil
	}
	if _, err := p.cfg.Store.Status(base.ID); errors.Is(err, iofs.ErrNotExist) {
		return lostError(err)
	}
	return nil
}

func lostError(err error) error {
	return fmt.Errorf("the committed blocks are lost: the store has nothing of the disk: %w", err)
}

// Create makes a disk in the store, if it is to be kept there.
func (p *Pool) Create(base catalog.Base, note string) error {
	if p.cfg.Store == nil || !base.Stored() {
		return nil
	}
	if err := p.cfg.Store.Create(base.ID, base.Size, note); err != nil {
		return err
	}
	return p.cfg.Store.SetEvictable(base.ID, base.Load == catalog.Lazy)
}

// newDisk makes a disk of an origin.
func (p *Pool) newDisk(ctx context.Context, base catalog.Base, o *origin) (*disk, error) {
	d := &disk{origin: o, pool: p}
	if p.cfg.Store == nil || !base.Stored() {
		img, err := o.open(ctx)
		if err != nil {
			return nil, err
		}
		d.Disk = p.cfg.Loader.Open(img)
		return d, nil
	}
	cluster := base.ClusterSize
	if base.Compression == "" {
		cluster = 0
	}
	d.Disk = p.cfg.Loader.OpenStored(lazyload.Stored{Disk: base.ID, Size: base.Size, Cluster: cluster, Image: o.open, Changed: base.Committed})
	return d, nil
}

// erase frees the blocks of a disk that nothing rests on. A sweep gives the space back.
func (p *Pool) erase(s *Slot) error {
	if p.cfg.Store == nil {
		return nil
	}
	return p.cfg.Store.Delete(s.id)
}

// Probe is a source that was opened for a registration: its image is known, and no disk yet.
type Probe struct {
	pool   *Pool
	origin *origin
	disk   *disk // nil before Keep
}

// Probe opens a source for the first time.
func (p *Pool) Probe(ctx context.Context, id uint64, src catalog.Source) (*Probe, error) {
	o := p.newOrigin(id, src)
	if _, err := o.open(ctx); err != nil {
		return nil, err
	}
	return &Probe{pool: p, origin: o}, nil
}

// countPatience is how long the allocated bytes of a new image are counted before they are
// estimated.
const countPatience = 100 * time.Millisecond

// Fill enters the findings in the source into the sections of a record.
func (pr *Probe) Fill(ctx context.Context, src *catalog.Source, d *catalog.Disk) {
	o := pr.origin
	o.mu.Lock()
	defer o.mu.Unlock()
	info, files := o.chain.Info(), o.chain.Files()
	src.Identity, src.Beside, src.Format = files[0].Identity, files[1:], info.Format
	counting, cancel := context.WithTimeout(ctx, countPatience)
	defer cancel()
	d.Size, d.SectorSize = info.Size, info.SectorSize
	var err error
	if d.Allocated, err = formats.Occupied(counting, o.chain); err != nil {
		d.Allocated = info.Size // a damaged table is an error of reading the place, not of registering the image
	}
	d.ClusterSize, d.Compression = info.ClusterSize, info.Compression
	d.Indexed = indexed(o.chain) != nil
	d.Map = o.chain.Sources()[0].MapNote()
}

// ReadAt reads from the disk of the source.
func (pr *Probe) ReadAt(ctx context.Context, p []byte, off int64) error {
	img, err := pr.origin.open(ctx)
	if err != nil {
		return err
	}
	return img.ReadAt(ctx, p, off)
}

// Keep puts the disk into a slot that cannot be opened yet, for its first reader.
func (pr *Probe) Keep(ctx context.Context, base catalog.Base, s *Slot) error {
	d, err := pr.pool.newDisk(ctx, base, pr.origin)
	if err != nil {
		return err
	}
	pr.disk = d
	pr.pool.keep(s, d)
	return nil
}

// Discard takes the disk out of its slot again, and closes the source.
func (pr *Probe) Discard() error {
	if pr.disk == nil {
		return pr.origin.close()
	}
	return closeDisk(pr.pool.discard(pr.disk.slot))
}

// newOrigin returns the origin of a disk, not opened.
func (p *Pool) newOrigin(id uint64, src catalog.Source) *origin {
	return &origin{id: id, pool: p, path: src.Path, cfg: chain.Config{
		Formats: p.cfg.Formats, Sources: p.cfg.Sources, Format: src.Format, Snapshot: src.Snapshot, Backing: src.Backing, Maps: true,
	}}
}

// closeLater closes a disk in the background: that waits for loads in flight.
func (p *Pool) closeLater(what func() error) {
	work := func() {
		if err := what(); err != nil {
			p.cfg.Log.Warn("closing a disk", slog.String("error", command.Sentence(err)))
		}
	}
	if !p.cfg.Go(work) {
		work()
	}
}
