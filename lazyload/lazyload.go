// Package lazyload turns an image into a disk whose bytes are found, decoded and kept when they are
// first read.
//
// A Loader owns the parts that all disks share: the cache of decoded clusters, the processors for
// decoding ahead, and the saver. A Disk is one open image, and a View the answer to one read:
// slices of shared memory, so that decoded bytes reach the kernel without a copy.
//
// A read consults the block map first. Blocks in the store come from there, and zeros cost nothing.
// An absent block is loaded from the image in a whole unit (a cluster, or a block if that is
// larger), once for all its readers, into the cache. The reader is answered, and only then the
// saver gets the unit and stores it. For a sequential reader the next units are loaded on all
// processors before it needs them.
//
// A disk without a store is read through: plain data goes from the source into the reader's memory,
// and only compressed clusters are cached.
//
//	disk              opening; one unit from the image
//	view, stored      one read, from the image and from the store
//	below             an image whose lost or changed blocks the store knows better
//	ahead             sequential readers
//	saver, fill       saving loaded units; loading on demand
//
// The package knows no path, no name and no kernel. It uses formats (the meaning of an image's
// bytes) and the contract of the block store.
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

// Config limits a Loader. The zero value is usable.
type Config struct {
	CacheSize int64 // bytes of decoded clusters; 0 is DefaultCacheSize
	Workers   int   // clusters decoded ahead at once, over all disks; 0 is one a processor, -1 none
	// Loads is the number of clusters read and decoded at once, over all disks. 0 is two a
	// processor, so that one is read while another is decoded. Each needs memory beside the cache
	// for the stored bytes. It also limits the number of views that have a Fresh unit.
	Loads int
	// Store is for the disks of OpenStored, and must outlive the Loader. Without it only Open
	// works.
	Store Store
	Now   func() time.Time // nil is time.Now
}

// Store is the part of the block store that a Loader needs.
type Store interface {
	blockstore.Reader
	blockstore.Saver
	Lookup(disk uint64, block int64) (blockstore.Entry, error)
	AnyLost() bool
}

// DefaultCacheSize is the default of the command line's --cache-size.
const DefaultCacheSize = 256 << 20

// Loader is shared by all disks of a process and safe for concurrent use.
type Loader struct {
	cache   *cache.Cache
	limit   int64
	workers chan struct{} // has a token for each running worker
	offers  chan struct{} // has a token for each view with a Fresh unit
	disks   atomic.Uint64 // the last disk's id
	store   Store
	saver   *saver
}

// New returns a Loader. Close it after all its disks.
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

// Stats returns the cache's counters.
func (l *Loader) Stats() cache.Stats { return l.cache.Stats() }

// SaveStats returns the saver's counters.
func (l *Loader) SaveStats() SaveStats { return l.saver.stats() }

// SaveFailures returns a channel with the saver's latest failure.
func (l *Loader) SaveFailures() <-chan error { return l.saver.failures }

// Close ends the saver and frees the cache's memory.
func (l *Loader) Close() error {
	l.saver.close()
	return l.cache.Close()
}

// Opener opens the image of a disk when the disk first needs it. The caller of OpenStored must
// close the image after the disk.
type Opener func(ctx context.Context) (formats.Image, error)

// Open returns a disk that is read through from img. The image's source must stay open until the
// disk is closed.
func (l *Loader) Open(img formats.Image) *Disk {
	info := img.Info()
	d := l.newDisk(info.Size, info.ClusterSize, nil)
	d.image.img.Store(&img)
	return d
}

// Stored describes a disk of the block store and the image that has its absent blocks.
type Stored struct {
	Disk    uint64 // its number in the store
	Size    int64
	Cluster int64 // the image's cluster size if it has compressed clusters, else 0
	Image   Opener
	// Changed is set for a committed disk: blocks in the store replace the image's, which are old.
	Changed bool
}

// OpenStored returns a disk whose blocks come from the store. Absent blocks come from the image,
// and are then saved in the store.
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
