package lifecycle

import (
	"fmt"
	"strings"
	"time"
)

// lines builds a status: "key value" lines. Keys are only ever added.
type lines struct{ strings.Builder }

func (l *lines) add(key string, value any) { fmt.Fprintf(l, "%s %v\n", key, value) }

// Status tells how the store is, in "key value" lines: see docs/control-files.md.
func (r *Registry) Status() string {
	states := map[State]int{}
	handles := 0
	images := r.Images()
	for _, img := range images {
		states[img.State()]++
		handles += r.disks.handles(&img.slot)
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
	return l.String()
}

// Status tells what the image is, in "key value" lines: see docs/control-files.md.
func (i *Image) Status() string {
	i.r.mu.RLock()
	rec, trouble := i.rec, i.trouble
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
	l.add("source", rec.Source)
	l.add("registered", rec.Registered.Format(time.RFC3339))
	l.add("opens", i.r.disks.handles(&i.slot))
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
