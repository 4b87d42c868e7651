// Package lifecycle is the life of images and volumes: the verbs and their effects.
//
// An Image is a registered, named, immutable disk. A Volume is a writable disk: deltas
// (lazyload/overlay) over the disk of the image it was cloned from; a commit makes an image of it.
// The Registry holds all of them. A registration goes
//
//	queued   its record is on disk; the source was not looked at
//	saving   a job opens and checks the source
//	active   the disk can be opened
//	killed   the source could not be read, and no caller waited any more; the record says why
//
// and a daemon that was killed on the way takes it up again when it starts.
//
// The verbs are rows of three tables, one beside the files that carry them out:
//
//	storeverbs.go   register.go, storecare.go
//	imageverbs.go   image.go, load.go, export.go, tag.go
//	volumeverbs.go  volume.go, resize.go, commit.go, fold.go, volumeexport.go
//
// Below are the rooms that the verbs work with: lifecycle/command parses and performs them,
// lifecycle/catalog has the records, lifecycle/job the work that goes on after a command, and
// lifecycle/pool the open disks. A command returns when its change is on disk; others see it only
// then. No lock is held while a source, a destination or another system is waited for.
package lifecycle

import (
	"context"
	"errors"
	iofs "io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/lazyload/index"
	"github.com/imsfs/imsfs/lazyload/overlay"
	"github.com/imsfs/imsfs/lazyload/source"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/job"
	"github.com/imsfs/imsfs/lifecycle/pool"
)

// Config holds the parts that a Registry works with.
type Config struct {
	Formats formats.Set
	Sources source.Opener    // where images may be
	Loader  *lazyload.Loader // to be closed after the Registry
	Store   blockstore.Store // the Loader's, to be closed after it; nil: every image is read through
	Indexes *index.Dir       // of images that need one; nil: none are made
	Log     *slog.Logger     // nil is silent
	Now     func() time.Time // nil is time.Now
	// Volumes is the directory of the deltas, an absolute path; "": there are no volumes.
	Volumes string
	// Mountpoint is where the registry's own tree is mounted, without symbolic links; "" is
	// nowhere.
	Mountpoint string
	// StoreDir is the store's directory, without symbolic links. Nothing is exported to it.
	StoreDir string
}

// Registry holds all images and volumes of one store. It is safe for concurrent use.
type Registry struct {
	cfg     Config
	catalog *catalog.Catalog
	runner  *job.Runner
	pool    *pool.Pool
	chain   command.Chain[*catalog.Tx]
	deltas  overlay.Dir   // of volumes
	jobs    job.Slot      // of the store
	opening chan struct{} // a token for each source that is being opened by a registration

	mu      sync.RWMutex // guards the following
	images  map[uint64]*Image
	volumes map[uint64]*Volume
	trouble string          // why the store could not keep something the last time
	asking  map[uint64]bool // the disks whose source has not answered yet
}

// atOnce is how many sources are opened and checked at once; further registrations are queued.
const atOnce = 4

// patience is how long a register waits for its job before it leaves it to itself, and how long a
// source that does not answer keeps another from being opened.
const patience = 5 * time.Second

// Open returns the registry that is in db. No source is read for it; registrations that were cut
// off go on as jobs. The caller closes the database, after the Registry.
func Open(ctx context.Context, db *kv.DB, cfg Config) (*Registry, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	r := &Registry{
		cfg:     cfg,
		opening: make(chan struct{}, atOnce),
		images:  map[uint64]*Image{},
		volumes: map[uint64]*Volume{},
		asking:  map[uint64]bool{},
	}
	if err := r.openRecords(ctx, db); err != nil {
		return nil, err
	}
	r.runner = job.New(ctx, cfg.Now)
	r.pool = pool.New(pool.Config{
		Formats: cfg.Formats, Sources: cfg.Sources, Loader: cfg.Loader, Store: cfg.Store, Indexes: cfg.Indexes, Log: cfg.Log,
		Note: r.note, Go: r.runner.Go,
	})
	r.chain = command.Chain[*catalog.Tx]{
		Roles: command.Everybody{}, Limits: command.Everybody{}, Update: r.catalog.Update, Journal: journal{cfg.Log}, Patience: 2 * patience,
	}
	for _, id := range r.catalog.Images() {
		r.adoptImage(id)
	}
	for _, id := range r.catalog.Volumes() {
		rec, _ := r.catalog.Volume(id)
		r.adoptVolume(rec)
	}
	if err := r.removeDropped(); err != nil {
		return nil, err
	}
	r.resume()
	return r, nil
}

// openRecords opens the catalog, and the directory of the deltas, where volumes have their notes.
func (r *Registry) openRecords(ctx context.Context, db *kv.DB) (err error) {
	var notes catalog.Notes
	if r.cfg.Volumes != "" {
		if r.deltas, err = overlay.OpenDir(r.cfg.Volumes); err != nil {
			return err
		}
		notes = r.deltas
	}
	r.catalog, err = catalog.Open(ctx, db, notes)
	return err
}

// resume takes up what an earlier daemon left, and starts what looks after the store.
func (r *Registry) resume() {
	for _, img := range r.Images() {
		switch rec := img.record(); {
		case rec.State == catalog.Queued:
			r.resumeRegistration(img)
		case rec.Hydrating:
			r.resumeHydration(img)
		}
		r.pool.Indexes().Want(img.record().Base())
	}
	if r.cfg.Indexes != nil {
		r.runner.Attend(r.pool.Indexes().Run)
	}
	if r.cfg.Store != nil {
		r.runner.Attend(r.followSaver)
	}
	r.runner.Go(r.tendVolumes)
}

// grace is how long Close waits for jobs that hang in a source or a destination.
const grace = 5 * time.Second

// Close ends the jobs, waits for them and closes the disks that no process has open; the others are
// closed with their last handle. Work that hangs in another system is abandoned after some seconds,
// and logged. Registrations that were under way are taken up at the next Open.
func (r *Registry) Close() error {
	r.catalog.Close()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	errs := []error{r.runner.Close(ctx)}
	ctx, cancel = context.WithTimeout(context.Background(), grace)
	defer cancel()
	for _, v := range r.Volumes() {
		errs = append(errs, v.close(ctx))
	}
	closed := make(chan error, 1)
	go func() { closed <- r.pool.Close() }()
	select {
	case err := <-closed:
		errs = append(errs, err)
	case <-ctx.Done():
		errs = append(errs, command.Refuse(ctx.Err(), "disks do not end to close: a source does not answer"))
	}
	errs = slices.DeleteFunc(errs, func(err error) bool {
		hangs := errors.Is(err, context.DeadlineExceeded)
		if hangs {
			r.cfg.Log.Warn("closing the store", slog.String("reason", command.Sentence(err)))
		}
		return hangs
	})
	return errors.Join(errs...)
}

// Images returns all images by name.
func (r *Registry) Images() []*Image {
	ids := r.catalog.Images()
	r.mu.RLock()
	defer r.mu.RUnlock()
	images := make([]*Image, 0, len(ids))
	for _, id := range ids {
		if img := r.images[id]; img != nil {
			images = append(images, img)
		}
	}
	return images
}

// Image returns the image of that name; iofs.ErrNotExist.
func (r *Registry) Image(name string) (*Image, error) {
	if rec, ok := r.catalog.ImageNamed(name); ok {
		r.mu.RLock()
		defer r.mu.RUnlock()
		if img := r.images[rec.ID]; img != nil {
			return img, nil
		}
	}
	return nil, command.Refuse(iofs.ErrNotExist, "there is no image %q", name)
}

// Volumes returns all volumes by name.
func (r *Registry) Volumes() []*Volume {
	ids := r.catalog.Volumes()
	r.mu.RLock()
	defer r.mu.RUnlock()
	volumes := make([]*Volume, 0, len(ids))
	for _, id := range ids {
		if v := r.volumes[id]; v != nil {
			volumes = append(volumes, v)
		}
	}
	return volumes
}

// Volume returns the volume of that name; iofs.ErrNotExist.
func (r *Registry) Volume(name string) (*Volume, error) {
	if rec, ok := r.catalog.VolumeNamed(name); ok {
		r.mu.RLock()
		defer r.mu.RUnlock()
		if v := r.volumes[rec.ID]; v != nil {
			return v, nil
		}
	}
	return nil, command.Refuse(iofs.ErrNotExist, "there is no volume %q", name)
}

// note returns the note that the store keeps with a disk: the image's own while it exists, and a
// volume's copy after that. A part that does not fit is left out, and the log says so.
func (r *Registry) note(base catalog.Base) string {
	rec, ok := r.catalog.Image(base.ID)
	if !ok {
		rec = base.Image()
	}
	return r.noteOf(rec)
}

func (r *Registry) noteOf(rec catalog.Image) string {
	note, dropped, err := rec.Note(blockstore.MaxNote)
	if err != nil || len(dropped) > 0 {
		r.cfg.Log.Warn("the note for a rebuild has no room for all of the image's record",
			slog.Uint64("id", rec.ID), slog.String("image", rec.Name), slog.Any("left_out", dropped), slog.String("error", command.Sentence(err)))
	}
	return note
}
