package tree

import (
	"slices"
	"strings"

	"github.com/imsfs/imsfs/lifecycle/command"
)

// row is one name of a directory whose names are always the same.
type row[T any] struct {
	name string
	kind Kind
	// node makes the node. t is the subject of the directory, is the new node's identity.
	node func(t T, is Thing) Node
}

// fixed returns the directory that a table describes. While exists returns false the directory is
// empty, so that a process which stands in the directory of a deleted image sees that.
func fixed[T any](is Thing, t T, table []row[T], exists func() bool) Dir {
	child := func(r row[T]) Thing { return Thing{is.Key.Named(r.name), is.Time} }
	return Dir{
		Thing: is,
		List: func() []Entry {
			if !exists() {
				return nil
			}
			entries := make([]Entry, len(table))
			for i, r := range table {
				entries[i] = Entry{r.name, r.kind, child(r).Key}
			}
			return entries
		},
		Find: func(name string) (Node, bool) {
			i := slices.IndexFunc(table, func(r row[T]) bool { return r.name == name })
			if i < 0 || !exists() {
				return nil, false
			}
			return table[i].node(t, child(table[i])), true
		},
	}
}

func always() bool { return true }

// lines returns the node function of a text that is one line, or empty.
func lines[T any](content func(T) string) func(T, Thing) Node {
	return func(t T, is Thing) Node {
		return Text{Thing: is, Content: func(command.Actor) string { return line(content(t)) }}
	}
}

// text returns the node function of a text.
func text[T any](content func(T) string) func(T, Thing) Node {
	return func(t T, is Thing) Node {
		return Text{Thing: is, Content: func(command.Actor) string { return content(t) }}
	}
}

// line ends a text with one newline, unless it is empty.
func line(s string) string {
	if s == "" {
		return ""
	}
	return strings.TrimSuffix(s, "\n") + "\n"
}
