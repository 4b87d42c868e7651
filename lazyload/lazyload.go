// Package lazyload turns an image into a disk whose bytes are found, decoded and kept when they are first read.
//
// A Loader owns what all disks share: the cache of decoded clusters, the processors for decoding ahead, and the saver that
// brings what was loaded into the block store. A Disk is one open image. A read of it asks the block map first: what the
// store has comes from there, zeros cost nothing, and what is absent is loaded from the image: a unit, its cluster or a
// block of the store, at a time, once, into the cache, however many readers want it. The reader is answered, and only then
// the unit is offered to the saver. When a reader goes forward through the disk, the units in front of it are
// loaded on all processors before it asks. A View is the answer to one read: slices of shared memory, so that decoded
// bytes reach the kernel without being copied. A disk without a store is read through: its plain data goes from the
// source into the reader's own memory, and only compressed clusters are cached.
//
//	disk, image       opening; one unit from the image
//	view, stored      one read, from the image and from the store
//	below             what of the image is the disk's, where the store knows more
//	ahead             sequential readers
//	saver, fill       bringing into the store, behind the readers and on demand
//
// Below this package are formats (what the bytes mean), lazyload/source (where they are) and the contract of the block
// store; it knows no path, no name and no kernel.
package lazyload

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/cache"
)

// Config is how much a Loader may use. The zero value is usable.
type Config struct {
	CacheSize int64 // bytes of decoded clusters; 0 is DefaultCacheSize
	Workers   int   // clusters decoded ahead at once, over all disks; 0 is one a processor, less than 0 none
	// Loads is the number of clusters read and decoded at once, over all disks; 0 is two a processor: one is read
	// while another is decoded. Each takes memory beside the cache, for what is stored of the cluster. As many may
	// be offered as View.Fresh at once.
	Loads int
	// Store keeps what was loaded, for the disks of OpenStored; without one there are none. It outlives the Loader.
	Store Store
	Now   func() time.Time // nil is time.Now
}

// Store is what a Loader needs of the block store.
type Store interface {
	blockstore.Reader
	blockstore.Saver
	Lookup(disk uint64, block int64) (blockstore.Entry, error)
	AnyLost() bool
}

// DefaultCacheSize is the --cache-size of the command line when none is given.
const DefaultCacheSize = 256 << 20

// Loader is shared by all disks of a process and safe for concurrent use.
type Loader struct {
	cache   *cache.Cache
	limit   int64
	workers chan struct{} // a token a running worker
	offers  chan struct{} // a token a view with a Fresh
	disks   atomic.Uint64 // names given so far
	store   Store
	saver   *saver
}

// New makes a Loader. Close it when all its disks are closed.
func New(cfg Config) *Loader {
	if cfg.CacheSize <= 0 {
		cfg.CacheSize = DefaultCacheSize
	}
	if cfg.Workers == 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	if cfg.Loads <= 0 {
		cfg.Loads = 2 * runtime.GOMAXPROCS(0)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := cache.New(cfg.CacheSize, cfg.Loads)
	return &Loader{
		cache:   c,
		limit:   cfg.CacheSize,
		workers: make(chan struct{}, max(cfg.Workers, 0)),
		offers:  make(chan struct{}, cfg.Loads),
		store:   cfg.Store,
		saver:   newSaver(c, cfg.Store, cfg.CacheSize/2, cfg.Now),
	}
}

// Stats tells how the cache does.
func (l *Loader) Stats() cache.Stats { return l.cache.Stats() }

// SaveStats tells how the saver does.
func (l *Loader) SaveStats() SaveStats { return l.saver.stats() }

// SaveFailures gives the latest failure of the saver to whoever looks after the store.
func (l *Loader) SaveFailures() <-chan error { return l.saver.failures }

// Close gives the cache's memory back.
func (l *Loader) Close() error {
	l.saver.close()
	return l.cache.Close()
}

// Opener opens the image that a disk is read from, where the disk needs it first. The image is the caller's to close after
// the disk.
type Opener func(ctx context.Context) (formats.Image, error)

// Open makes a disk that is read through from an image, whose source must stay open until the disk is closed.
func (l *Loader) Open(img formats.Image) *Disk {
	info := img.Info()
	d := l.newDisk(info.Size, info.ClusterSize, nil)
	d.image.img.Store(&img)
	return d
}

// Stored names a disk of the block store and where to load what is absent from.
type Stored struct {
	Disk    uint64 // its number in the store
	Size    int64
	Cluster int64 // of the image, if it has compressed clusters; 0 otherwise
	Image   Opener
	// Changed says that what the store has of the disk is not what the image has, so that only what is absent is the image's.
	Changed bool
}

// OpenStored makes a disk whose blocks come from the store and, where that has none, from the image and then into the store.
func (l *Loader) OpenStored(s Stored) *Disk {
	st := &stored{store: l.store, disk: s.Disk, changed: s.Changed}
	d := l.newDisk(s.Size, max(s.Cluster, blockstore.BlockSize), func(ctx context.Context) (formats.Image, error) {
		img, err := s.Image(ctx)
		if err != nil {
			return nil, err
		}
		return &below{img, st, s.Size, l.saver.tell}, nil
	})
	d.stored = st
	return d
}

func (l *Loader) newDisk(size, unit int64, open Opener) *Disk {
	ctx, cancel := context.WithCancel(context.Background())
	return &Disk{
		loader: l,
		id:     l.disks.Add(1),
		size:   size,
		unit:   unit,
		image:  newImageSlot(open),
		ctx:    ctx,
		cancel: cancel,
		ahead:  ahead{window: window(unit, l.limit)},
	}
}
