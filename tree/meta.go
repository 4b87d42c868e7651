package tree

import (
	"context"
	"slices"

	"github.com/imsfs/imsfs/lifecycle"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// described is an image or a volume, as far as people describe it.
type described interface {
	Commander
	Meta() []lifecycle.Attribute
}

// attributes returns the directory with one text for each attribute.
func attributes(of described, is Thing) Dir {
	return Dir{
		Thing: is,
		List: func() []Entry {
			var entries []Entry
			for _, a := range of.Meta() {
				entries = append(entries, Entry{a.Key, KindText, is.Key.Named(a.Key)})
			}
			return entries
		},
		Find: func(name string) (Node, bool) {
			if _, ok := value(of, name); !ok {
				return nil, false
			}
			return Text{
				Thing: Thing{is.Key.Named(name), is.Time},
				Content: func(command.Actor) string {
					v, _ := value(of, name)
					return line(v)
				},
				Set: func(ctx context.Context, by command.Actor, text string) error {
					return of.Do(ctx, command.Call{Line: command.Quote("set", name, text), By: by})
				},
			}, true
		},
	}
}

// value returns the value of an attribute, "" if it is not set, and whether there is such an
// attribute.
func value(of described, key string) (string, bool) {
	all := of.Meta()
	i := slices.IndexFunc(all, func(a lifecycle.Attribute) bool { return a.Key == key })
	if i < 0 {
		return "", false
	}
	return all[i].Value, true
}
