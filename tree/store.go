package tree

import (
	"context"
	"time"

	"github.com/imsfs/imsfs/lifecycle"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// Of returns the tree of a store. Files that are about the whole store have the time served.
func Of(reg *lifecycle.Registry, served time.Time) Dir {
	return fixed(Thing{Time: served}, reg, storeRows(), always)
}

func storeRows() []row[*lifecycle.Registry] {
	return []row[*lifecycle.Registry]{
		{"README", KindText, text(func(*lifecycle.Registry) string { return readme })},
		{"ctl", KindControl, func(r *lifecycle.Registry, is Thing) Node { return Control{is, commands{r}} }},
		{"error", KindText, lines((*lifecycle.Registry).LastError)},
		{"images", KindDir, func(r *lifecycle.Registry, is Thing) Node { return images(r, is) }},
		{"job", KindText, lines((*lifecycle.Registry).Job)},
		{"status", KindText, text((*lifecycle.Registry).Status)},
		{"volumes", KindDir, func(r *lifecycle.Registry, is Thing) Node { return volumes(r, is) }},
	}
}

// commands makes a Commander of an object that takes lines alone.
type commands struct {
	object interface {
		Do(ctx context.Context, line string) error
		Verbs() string
	}
}

func (c commands) Do(ctx context.Context, call command.Call) error {
	return c.object.Do(ctx, call.Line)
}
func (c commands) Verbs() string { return c.object.Verbs() }
