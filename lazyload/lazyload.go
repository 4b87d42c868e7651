// Package lazyload turns an image into a disk whose bytes are decoded when they are first read.
//
// A Loader owns what all disks share: the cache of decoded clusters and the processors for decoding ahead. A Disk is
// one open image. A read walks the disk's extents: zeros cost nothing, plain data is read from the source into the
// reader's own memory, and a compressed cluster is decoded once, whole, into the cache, however many readers want
// it. When a reader goes forward through the disk, the clusters in front of it are decoded on all processors
// before it asks. A View is the answer to one read: slices of shared memory, so that decoded bytes reach the kernel
// without being copied.
//
// Below this package are formats (what the bytes mean) and lazyload/source (where they are); it knows no path, no
// name and no kernel.
package lazyload

import (
	"context"
	"runtime"
	"sync/atomic"

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
	return &Loader{
		cache:   cache.New(cfg.CacheSize, cfg.Loads),
		limit:   cfg.CacheSize,
		workers: make(chan struct{}, max(cfg.Workers, 0)),
		offers:  make(chan struct{}, cfg.Loads),
	}
}

// Stats tells how the cache does.
func (l *Loader) Stats() cache.Stats { return l.cache.Stats() }

// Close gives the cache's memory back.
func (l *Loader) Close() error { return l.cache.Close() }

// Open makes a disk of an image, whose source must stay open until the disk is closed.
func (l *Loader) Open(img formats.Image) *Disk {
	info := img.Info()
	ctx, cancel := context.WithCancel(context.Background())
	return &Disk{
		loader:  l,
		img:     img,
		id:      l.disks.Add(1),
		size:    info.Size,
		cluster: info.ClusterSize,
		ctx:     ctx,
		cancel:  cancel,
		ahead:   ahead{window: window(info.ClusterSize, l.limit)},
	}
}
