package tree

import (
	"time"

	"github.com/imsfs/imsfs/lifecycle"
)

// Of returns the tree of a store. Files that are about the whole store have the time served.
func Of(reg *lifecycle.Registry, served time.Time) Dir {
	return fixed(Thing{Time: served}, reg, storeRows(), always)
}

func storeRows() []row[*lifecycle.Registry] {
	return []row[*lifecycle.Registry]{
		{"README", KindText, text(func(*lifecycle.Registry) string { return readme })},
		{"ctl", KindControl, func(r *lifecycle.Registry, is Thing) Node { return Control{is, r} }},
		{"error", KindText, lines((*lifecycle.Registry).LastError)},
		{"images", KindDir, func(r *lifecycle.Registry, is Thing) Node { return images(r, is) }},
		{"job", KindText, lines((*lifecycle.Registry).Job)},
		{"status", KindText, text((*lifecycle.Registry).Status)},
		{"volumes", KindDir, func(r *lifecycle.Registry, is Thing) Node { return volumes(r, is) }},
	}
}
