package tree

import (
	"time"

	"github.com/imsfs/imsfs/lifecycle"
)

// Of returns the tree of a store. Files that are about the whole store have the time of this call.
func Of(reg *lifecycle.Registry, now func() time.Time) Dir {
	return fixed(Thing{Time: now()}, reg, storeRows(newInsides(now)), always)
}

func storeRows(in *insides) []row[*lifecycle.Registry] {
	return []row[*lifecycle.Registry]{
		{"README", KindText, text(func(*lifecycle.Registry) string { return readme })},
		{"ctl", KindControl, func(r *lifecycle.Registry, is Thing) Node { return Control{is, r} }},
		{"error", KindText, lines((*lifecycle.Registry).LastError)},
		{"images", KindDir, func(r *lifecycle.Registry, is Thing) Node { return images(r, in, is) }},
		{"job", KindText, lines((*lifecycle.Registry).Job)},
		{"status", KindText, text((*lifecycle.Registry).Status)},
		{"volumes", KindDir, func(r *lifecycle.Registry, is Thing) Node { return volumes(r, is) }},
	}
}
