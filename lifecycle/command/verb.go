package command

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// State is where a target is in its life: a word of the package that owns the target.
type State string

// Role is the right that a caller needs on the target.
type Role int

// The roles, each with the rights of those before it.
const (
	Viewer Role = iota // looks
	Editor             // changes
	Owner              // gives away and deletes
)

// Needs is what must hold of the target from before Prepare until the command is through.
type Needs int

// The needs of verbs.
const (
	Idle   Needs = 1 << iota // no job runs, and none begins
	Unused                   // no process has the disk open, and none opens it
)

// Option is an argument or a KEY=VALUE of a verb.
type Option struct {
	Key      string // an argument's is in capitals; any other argument is a word to be written as it is
	Rule     Rule
	Help     string
	Value    string // the placeholder of a KEY=VALUE in a usage; "" is VALUE
	Optional bool   // of an argument: it may be missing, and then those after it are missing too
	Required bool   // of a KEY=VALUE: it must be given
}

// Spec is a verb as its users see it.
type Spec struct {
	Name    string
	Help    string   // one clause, no full stop
	Args    []Option // by position
	Options []Option // KEY=VALUE, in any order, each at most once
	// Others says which other keys are taken and left to the verb to check ("" none): they depend
	// on something that the table does not know, as those of an image format do.
	Others string
	Job    bool    // it starts a job, which goes on after the command
	In     []State // the states it may be used in; nil: any
	Role   Role
	Needs  Needs
}

// Verb is a row of a table of verbs on targets of type T. X is what Apply changes records through.
type Verb[T, X any] struct {
	Spec
	// Prepare decides on the changes. It may wait for the world and holds no lock. (The target
	// comes first, so that methods can be named.)
	Prepare func(T, context.Context, *Args) (Plan[X], error)
}

// Plan is the decision of a Prepare. Each function may be nil.
type Plan[X any] struct {
	// Apply changes records, in one transaction and alone. It must wait for nothing.
	Apply func(X) error
	// Then runs once the transaction is on disk: it starts a job, or waits for one.
	Then func(context.Context) error
	// Drop runs at the end in any case, and gives back what Prepare took.
	Drop func()
}

// Usable reports whether the verb may be used in a state.
func (s Spec) Usable(in State) bool { return s.In == nil || slices.Contains(s.In, in) }

// Usage returns the verb with its arguments as a line to be written: "clone VOLUME [size=N]".
func (s Spec) Usage() string {
	words := []string{s.Name}
	var may []string
	for _, a := range s.Args {
		if a.Optional {
			may = append(may, a.Key)
		} else {
			words = append(words, a.Key)
		}
	}
	if len(may) > 0 {
		words = append(words, "["+strings.Join(may, " ")+"]")
	}
	may = nil
	for _, o := range s.Options {
		if o.Required {
			words = append(words, o.pair())
		} else {
			may = append(may, o.pair())
		}
	}
	switch {
	case len(may) == 1 && s.Others == "":
		words = append(words, "["+may[0]+"]")
	case len(may) > 0 || s.Others != "":
		words = append(words, "[KEY=VALUE ...]")
	}
	return strings.Join(words, " ")
}

// pair is a KEY=VALUE in a usage.
func (o Option) pair() string {
	if o.Value != "" {
		return o.Key + "=" + o.Value
	}
	return o.Key + "=VALUE"
}

// line is the verb in a listing: usage, help and keys.
func (s Spec) line() string {
	line := s.Usage() + "  # " + s.Help
	if s.Job {
		line += "; a job"
	}
	var keys []string
	for _, o := range s.Options {
		keys = append(keys, o.Key)
	}
	if s.Others != "" {
		keys = append(keys, s.Others)
	}
	if len(keys) > 0 {
		line += ". Keys: " + strings.Join(keys, ", ")
	}
	return line
}

// Listing returns the verbs of a table that may be used in a state, a line each.
func Listing[T, X any](table []Verb[T, X], in State) string {
	var text strings.Builder
	for _, v := range table {
		if v.Usable(in) {
			fmt.Fprintln(&text, v.line())
		}
	}
	return text.String()
}

// Specs returns the rows of a table as its users see them.
func Specs[T, X any](table []Verb[T, X]) []Spec {
	specs := make([]Spec, len(table))
	for i, v := range table {
		specs[i] = v.Spec
	}
	return specs
}

func find[T, X any](table []Verb[T, X], name string) (Verb[T, X], error) {
	var known []string
	for _, v := range table {
		if v.Name == name {
			return v, nil
		}
		known = append(known, v.Name)
	}
	return Verb[T, X]{}, Refuse(ErrUsage, "unknown verb %q: known are %s", name, strings.Join(known, ", "))
}
