package lifecycle

import (
	"fmt"
	"strings"
	"time"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lifecycle/catalog"
)

// lines builds a status of "key value" lines. Keys are only ever added.
type lines struct{ strings.Builder }

func (l *lines) add(key string, value any) { fmt.Fprintf(l, "%s %v\n", key, value) }

// sectorSize adds the logical sector size of a disk, unless it is the usual one.
func (l *lines) sectorSize(n int64) {
	if n != 0 && n != formats.SectorSize {
		l.add("logical_sector_size", n)
	}
}

// Status returns how the store is, in "key value" lines: docs/control-files.md.
func (r *Registry) Status() string {
	states := map[catalog.State]int{}
	handles := int64(0)
	images := r.Images()
	for _, img := range images {
		states[img.record().State]++
		handles += img.opens.Load()
	}
	volumes := r.Volumes()
	for _, v := range volumes {
		n, _ := v.handles()
		handles += int64(n)
	}
	var l lines
	l.add("images", len(images))
	for _, s := range []catalog.State{catalog.Queued, catalog.Saving, catalog.Active, catalog.Killed} {
		l.add(string(s), states[s])
	}
	l.add("opens", handles)
	cache := r.cfg.Loader.Stats()
	l.add("cache_limit", cache.Limit)
	l.add("cache_used", cache.Used)
	l.add("cache_hits", cache.Hits)
	l.add("cache_joins", cache.Joins)
	l.add("cache_loads", cache.Loads)
	r.storeStatus(&l)
	l.add("volumes", len(volumes))
	return l.String()
}

// storeStatus adds the lines of the block store.
func (r *Registry) storeStatus(l *lines) {
	if r.cfg.Store == nil {
		return
	}
	if st, err := r.cfg.Store.Stats(); err == nil {
		l.add("store_limit", st.Limit)
		l.add("store_used", st.Used)
		l.add("store_stored", st.Stored)
		l.add("store_blocks", st.Blocks)
		l.add("store_plain", st.Blocks*blockstore.BlockSize)
		l.add("store_mapped", st.Mapped)
		l.add("store_quarantined", st.Quarantined)
	}
	saved := r.cfg.Loader.SaveStats()
	l.add("saved", saved.Units)
	l.add("save_skipped", saved.Skipped)
	l.add("save_failures", saved.Failures)
	r.mu.RLock()
	trouble := r.trouble
	r.mu.RUnlock()
	if trouble != "" {
		l.add("store_error", trouble)
	}
}

// loadStatus adds how much of an image is in the block store.
func (i *Image) loadStatus(l *lines, rec catalog.Image) {
	l.add("load", or(string(rec.Load), string(catalog.Lazy)))
	if rec.Committed {
		l.add("committed", "yes")
	}
	if i.reg.cfg.Store == nil || !rec.Stored() {
		l.add("complete", "no")
		return
	}
	st, err := i.reg.cfg.Store.Status(rec.ID)
	complete := "no"
	if err == nil && st.Complete() {
		complete = "yes"
	}
	l.add("complete", complete)
	l.add("loaded", min(st.Loaded*blockstore.BlockSize, rec.Size))
}

// Status returns the facts about the image as "key value" lines: docs/control-files.md.
func (i *Image) Status() string {
	rec := i.record()
	i.mu.Lock()
	trouble := i.trouble
	i.mu.Unlock()
	var l lines
	l.add("id", rec.ID)
	l.add("name", rec.Name)
	l.add("state", rec.State)
	l.add("format", or(rec.Format, "unknown"))
	l.add("size", rec.Size)
	l.add("allocated", rec.Allocated)
	l.sectorSize(rec.SectorSize)
	l.add("cluster_size", rec.ClusterSize)
	l.add("compression", or(rec.Compression, "none"))
	l.add("source", or(rec.Path, "none"))
	if rec.Map != "" {
		l.add("map", rec.Map)
	}
	l.add("registered", rec.Registered.Format(time.RFC3339))
	l.add("opens", i.opens.Load())
	if rec.State == catalog.Active {
		i.loadStatus(&l, rec)
		i.indexStatus(&l)
	}
	if problem := or(rec.Error, trouble); problem != "" {
		l.add("error", problem)
	}
	return l.String()
}

// indexStatus adds the state of the image's index, if it needs one.
func (i *Image) indexStatus(l *lines) {
	state, trouble := i.reg.pool.Indexes().State(i.id)
	if state == "" {
		return
	}
	l.add("index", state)
	if trouble != "" {
		l.add("index_error", trouble)
	}
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
