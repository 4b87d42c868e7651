package inspect

import (
	"context"
	"errors"
	"slices"

	"github.com/imsfs/imsfs/inspect/check"
	"github.com/imsfs/imsfs/inspect/content"
	"github.com/imsfs/imsfs/inspect/system"
	"github.com/imsfs/imsfs/inspect/table"
	"github.com/imsfs/imsfs/inspect/tree"
)

// SystemChecks are the findings for the system of one root.
type SystemChecks struct {
	Root   string          `json:"root"`
	Checks []check.Finding `json:"checks"`
}

// Failed reports whether a check has failed.
func (s SystemChecks) Failed() bool {
	return slices.ContainsFunc(s.Checks, func(f check.Finding) bool { return f.Result == check.Fail })
}

// ErrNoSystem is the error of Checks for a disk without an operating system.
var ErrNoSystem = errors.New("no operating system was found")

// Checks judges each operating system of the disk. today is a day as YYYY-MM-DD, for ends of
// support.
func (l *Layout) Checks(ctx context.Context, today string) ([]SystemChecks, error) {
	roots, err := l.Roots(ctx)
	if err != nil {
		return nil, err
	}
	if len(roots) == 0 {
		return nil, ErrNoSystem
	}
	return l.checkRoots(ctx, roots, l.describe(ctx, roots), today), ctx.Err()
}

func (l *Layout) checkRoots(ctx context.Context, roots []Root, systems []system.System, today string) []SystemChecks {
	subject := check.Subject{
		Boot: l.boot(ctx), Size: l.disk.Size(), GPT: l.Table.Kind == table.GPT, BIOSBoot: l.biosBoot(), Today: today,
		Slices: l.subjects(ctx),
	}
	list := []SystemChecks{}
	for i, r := range roots {
		one := subject
		one.System, one.View, one.Fstab = systems[i], r.View, r.Fstab
		one.Other = l.unreplayed(ctx, r)
		list = append(list, SystemChecks{r.Slice.ID, check.Run(ctx, one)})
	}
	return list
}

// subjects are the facts of all slices for the checks.
func (l *Layout) subjects(ctx context.Context) []check.Slice {
	var list []check.Slice
	for _, s := range l.Slices {
		c := s.Content()
		one := check.Slice{
			ID: s.ID, Type: c.Type, Encrypted: c.Kind == content.Encrypted,
			Volume: s.Kind == LogicalVolume || c.Kind == content.Member,
		}
		if r := s.contentReport(ctx); r != nil {
			one.State, one.Notes = r.State, r.Notes
		}
		list = append(list, one)
	}
	return list
}

// unreplayed returns a root as a boot loader sees it, with the logs left alone. It is nil if no log
// of the root or of its mounts was replayed.
func (l *Layout) unreplayed(ctx context.Context, r Root) *system.View {
	plain := func(s *Slice) (tree.Tree, bool) {
		t, err := s.Tree(ctx)
		if err != nil {
			return nil, false
		}
		if t.Info().State != tree.Replayed {
			return t, false
		}
		raw := &Slice{ID: s.ID, Kind: s.Kind, src: s.src, drivers: s.drivers, options: tree.Options{NoReplay: true}, Contents: s.Contents}
		if t, err = raw.Tree(ctx); err != nil {
			return nil, false
		}
		return t, true
	}
	root, replayed := plain(r.Slice)
	if root == nil || r.Top != r.Tree.Root() {
		return nil
	}
	view := system.NewView(root, root.Root())
	for _, m := range r.Mounts {
		s, ok := l.Slice(m.Slice)
		if !ok || s == r.Slice {
			continue
		}
		if t, changed := plain(s); t != nil {
			view.Mount(m.At, t)
			replayed = replayed || changed
		}
	}
	if !replayed {
		return nil
	}
	return view
}
