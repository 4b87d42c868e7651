package lifecycle

import (
	"fmt"
	"strings"
	"time"

	"github.com/imsfs/imsfs/blockstore"
)

// lines builds a status: "key value" lines. Keys are only ever added.
type lines struct{ strings.Builder }

func (l *lines) add(key string, value any) { fmt.Fprintf(l, "%s %v\n", key, value) }

// Status tells how the store is, in "key value" lines: see docs/control-files.md.
func (r *Registry) Status() string {
	states := map[State]int{}
	handles := int64(0)
	images := r.Images()
	for _, img := range images {
		states[img.State()]++
		handles += img.opens.Load()
	}
	volumes := r.Volumes()
	for _, v := range volumes {
		n, _ := v.handles()
		handles += int64(n)
	}
	var l lines
	l.add("images", len(images))
	for _, s := range []State{Queued, Saving, Active, Killed} {
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

// storeStatus adds what is to be told of the block store.
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

// loadStatus adds what of an image is in the block store.
func (i *Image) loadStatus(l *lines, rec record) {
	load := rec.Load
	if load == "" {
		load = Lazy
	}
	l.add("load", load)
	if rec.Committed {
		l.add("committed", "yes")
	}
	if i.r.cfg.Store == nil || !rec.stored() {
		l.add("complete", "no")
		return
	}
	st, err := i.r.cfg.Store.Status(rec.ID)
	complete := "no"
	if err == nil && st.Complete() {
		complete = "yes"
	}
	l.add("complete", complete)
	l.add("loaded", min(st.Loaded*blockstore.BlockSize, rec.Size))
}

// Status tells what the image is, in "key value" lines: see docs/control-files.md.
func (i *Image) Status() string {
	i.r.mu.RLock()
	rec, trouble, index := i.rec, i.trouble, i.index
	i.r.mu.RUnlock()
	var l lines
	l.add("id", rec.ID)
	l.add("name", rec.Name)
	l.add("state", rec.State)
	l.add("format", or(rec.Format, "unknown"))
	l.add("size", rec.Size)
	l.add("allocated", rec.Allocated)
	l.add("cluster_size", rec.ClusterSize)
	l.add("compression", or(rec.Compression, "none"))
	l.add("source", or(rec.Source, "none"))
	if rec.Map != "" {
		l.add("map", rec.Map)
	}
	l.add("registered", rec.Registered.Format(time.RFC3339))
	l.add("opens", i.opens.Load())
	if rec.State == Active {
		i.loadStatus(&l, rec)
		l.index(index)
	}
	if problem := or(rec.Error, trouble); problem != "" {
		l.add("error", problem)
	}
	return l.String()
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
