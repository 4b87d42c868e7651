// Package lifecycle knows which images and volumes there are, what may be done to them and what is being done.
//
// The nouns. An Image is a registered, named, immutable disk: its record says where its source is, what was found in
// it and what people say about it (attributes). Its State is one of a few words, and decides which verbs may be used. A
// verb is what a command, one line of words, begins with; the tables of verbs are data, in verbs.go and volumeverbs.go. A job
// is the work a verb starts; it has a progress, can outlive the command and ends as one line of text. The Registry holds all
// images and volumes. A Handle is one user of an image's disk; the disk behind it is opened from the source when it is first needed, shared
// by all handles, and kept a while after the last. A Volume is a writable disk: deltas (lazyload/overlay) over the disk of
// the image it was cloned from; a commit makes an image of it. The image and its volumes rest on one disk of the store, which goes with the
// last of them.
//
// A registration goes
//
//	queued   its record is on disk; the source has not been looked at
//	saving   a job opens and checks the source
//	active   the disk can be opened
//	killed   the source was no image it could read, and nobody was waiting to be told; the record says why
//
// and a daemon that was killed on the way takes it up again when it starts. deleted is what an image becomes for those
// who still have it open: its record is gone, its disk goes on until the last handle is closed.
//
// What is acknowledged is on disk: a command returns when its change is in the database (blockstore/kv), and
// what others see in memory follows the database, never the other way round. Below this package are formats, lazyload and the
// database; it knows no kernel and no control file, only lines and sentences.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/lazyload/index"
	"github.com/imsfs/imsfs/lazyload/overlay"
	"github.com/imsfs/imsfs/lazyload/source"
)

// Config is what a Registry works with.
type Config struct {
	Formats formats.Set
	Sources source.Opener    // where images may be
	Loader  *lazyload.Loader // to be closed after the Registry
	Store   blockstore.Store // the Loader's, to be closed after it; nil: every image is read through
	Indexes *index.Dir       // of images that want one; nil: none are made
	Log     *slog.Logger     // nil is silent
	Now     func() time.Time // nil is time.Now
	// Volumes is the directory of what is written to volumes, an absolute path; "" is nowhere, and then there are none.
	Volumes string
	// Mountpoint is where the registry's own tree is mounted, without symbolic links; "" is nowhere.
	Mountpoint string
	// StoreDir is the store's directory, without symbolic links, where nothing is exported to; "" is nowhere.
	StoreDir string
}

// Registry holds all images of one store. It is safe for concurrent use.
type Registry struct {
	db    *kv.DB
	cfg   Config
	ids   *kv.Sequence
	disks *pool

	deltas overlay.Dir // of volumes

	ctx    context.Context // of all jobs; Close ends it
	cancel context.CancelFunc
	jobs   sync.WaitGroup
	caring sync.WaitGroup // the goroutines that look after the block store and make indexes
	slots  chan struct{}  // a token a job that is beyond queued

	// changes is held by who changes what is in the database, from the checks to the publishing: one at a time. The
	// database's sync is waited for under it, so nobody who only looks takes it. Taken before mu.
	changes sync.Mutex
	closed  bool // guarded by changes

	mu      sync.RWMutex
	images  map[string]*Image // by name
	volumes map[string]*Volume
	job     *job // the latest on the store
	lastErr string
	trouble string // why the store could not keep something the last time
	indexer indexer
}

// atOnce is how many sources are opened and checked at once; what comes on top is queued.
const atOnce = 4

// Open returns the registry that is in db. No source is read for it; registrations that had not come to an end go
// on as jobs. The database is the caller's to close, after the Registry.
func Open(ctx context.Context, db *kv.DB, cfg Config) (*Registry, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := whole(db); err != nil {
		return nil, err
	}
	ids, err := db.Sequence([]byte(sequenceKey))
	if err != nil {
		return nil, err
	}
	r := &Registry{
		db:      db,
		cfg:     cfg,
		ids:     ids,
		disks:   newPool(cfg.Formats, cfg.Sources, cfg.Loader, cfg.Store),
		slots:   make(chan struct{}, atOnce),
		images:  map[string]*Image{},
		indexer: indexer{wake: make(chan struct{}, 1)},
		volumes: map[string]*Volume{},
	}
	r.disks.indexes, r.disks.attached = cfg.Indexes, r.attached
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := errors.Join(r.openDeltas(), r.dropStrays()); err != nil {
		return nil, err
	}
	r.resume()
	if cfg.Indexes != nil {
		r.caring.Go(r.makeIndexes)
	}
	if cfg.Store != nil {
		r.caring.Go(r.look)
	}
	r.caring.Go(r.tendVolumes)
	return r, nil
}

func (r *Registry) load(ctx context.Context) error {
	records, err := readRecords(ctx, r.db)
	if err != nil {
		return err
	}
	for _, rec := range records {
		if other, ok := r.images[rec.Name]; ok {
			return fmt.Errorf("images %d and %d are both named %q: %w", other.id, rec.ID, rec.Name, kv.ErrDamaged)
		}
		r.images[rec.Name] = newImage(r, rec)
	}
	return r.loadVolumes(ctx)
}

func (r *Registry) resume() {
	r.changes.Lock()
	defer r.changes.Unlock()
	for _, img := range r.Images() {
		switch rec := img.record(); {
		case rec.State == Queued:
			r.startRegistration(img, false)
		case rec.Hydrating:
			if err := r.startHydration(img); err != nil {
				r.cfg.Log.Warn("hydrate", append(imageAttrs(img), slog.String("error", sentence(err)))...)
			}
		}
		r.wantIndex(img)
	}
}

// Close ends the jobs, waits for them and closes the disks that nobody has open; the others are closed with their last
// handle. Registrations that were under way are taken up at the next Open.
func (r *Registry) Close() error {
	r.changes.Lock()
	r.closed = true
	r.changes.Unlock()
	r.cancel()
	r.jobs.Wait()
	r.caring.Wait()
	var errs []error
	for _, v := range r.Volumes() {
		errs = append(errs, v.close())
	}
	return errors.Join(append(errs, r.disks.close())...)
}

// Images returns all images by name.
func (r *Registry) Images() []*Image {
	r.mu.RLock()
	defer r.mu.RUnlock()
	images := make([]*Image, 0, len(r.images))
	for _, img := range r.images {
		images = append(images, img)
	}
	slices.SortFunc(images, func(a, b *Image) int { return strings.Compare(a.rec.Name, b.rec.Name) })
	return images
}

// Image returns the image of that name; iofs.ErrNotExist.
func (r *Registry) Image(name string) (*Image, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	img, ok := r.images[name]
	if !ok {
		return nil, refuse(iofs.ErrNotExist, "there is no image %q", name)
	}
	return img, nil
}

// Do runs one command on the store. Its error is one sentence, and is what LastError says until the next command.
func (r *Registry) Do(ctx context.Context, line string) error {
	r.setError("") // before: a job that the command starts may have failed by the time the command is through
	err := told(perform(ctx, storeVerbs, r, "", line))
	if err != nil {
		r.setError(sentence(err))
	}
	return err
}

func (r *Registry) setError(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastErr = text
}

// Verbs lists the commands on the store, a line each.
func (r *Registry) Verbs() string { return usage(storeVerbs, "") }

// LastError is the sentence of the last command on the store, or of its job that failed since; "" if all went well.
func (r *Registry) LastError() string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.lastErr
}

// write makes one change of the database; the caller holds changes.
func (r *Registry) write(change func(tx *kv.WriteTx) error) error {
	if r.closed {
		return refuse(iofs.ErrClosed, "the store is being closed")
	}
	return r.db.Update(change)
}

// update changes an image's record, on disk and then for all to see; the caller holds changes.
func (r *Registry) update(img *Image, change func(*record)) error {
	rec := img.record()
	change(&rec)
	if err := r.write(rec.put); err != nil {
		return err
	}
	r.publish(img, rec)
	return nil
}

// publish shows an image as rec says, under rec's name.
func (r *Registry) publish(img *Image, rec record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.images, img.rec.Name)
	img.rec = rec
	r.images[rec.Name] = img
}

// remove deletes an image, on disk and then for all to see; the caller holds changes. What volumes rest on stays.
func (r *Registry) remove(img *Image) error {
	rec := img.record()
	for _, v := range r.Volumes() { // what the image's record says of the disk is theirs to remember
		if err := r.remember(v, rec); err != nil {
			return err
		}
	}
	if err := r.write(rec.erase); err != nil {
		return err
	}
	r.mu.Lock()
	delete(r.images, img.rec.Name)
	img.rec.State = Deleted
	r.mu.Unlock()
	r.stopIndexing(img)
	r.leaveDisk(img.slot)
	return nil
}

// remember tells a volume what an image's record says of a disk that it rests on.
func (r *Registry) remember(v *Volume, rec record) error {
	news := func(of *record) bool { return of != nil && of.ID == rec.ID && of.Kept != rec.Kept }
	if now := v.record(); !news(now.Base) && !news(now.Origin) {
		return nil
	}
	return r.updateVolume(v, func(now *volumeRecord) {
		if news(now.Base) {
			now.Base = rec.base()
		}
		if news(now.Origin) {
			now.Origin = rec.base()
		}
	})
}

// leaveDisk ends that an image or a volume rests on a disk. The disk, and its index, go with the last one.
func (r *Registry) leaveDisk(s *slot) {
	last, end := r.disks.leave(s)
	if last && r.cfg.Indexes != nil {
		r.dropIndex(s.id)
	}
	r.end(end)
}

// isClosed tells a job that was ended by Close from one that was cancelled on its own.
func (r *Registry) isClosed() bool { return r.ctx.Err() != nil }
