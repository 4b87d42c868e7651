package lifecycle

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
)

// verb is one thing that a T, the store, an image or a volume, can be told to do.
type verb[T any] struct {
	name, args, help string
	min, max         int     // how many words may follow
	in               []State // in which it may be used; nil: any
	run              func(T, context.Context, []string) error
}

var storeVerbs = []verb[*Registry]{
	{"register", "NAME SOURCE [KEY=VALUE ...]", "make an image of a file; format=FMT names its format, load=lazy|full|none what of it is kept in the store", 2, math.MaxInt, nil, (*Registry).register},
	{"create", "VOLUME size=N", "make an empty volume of N bytes", 2, 2, nil, (*Registry).create},
	{"verify", "", "hash every block of the store again, as a job", 0, 0, nil, (*Registry).verify},
	{"sweep", "", "free what no image needs, as a job", 0, 0, nil, (*Registry).sweep},
	{"compact", "", "move blocks out of files that are mostly holes, as a job", 0, 0, nil, (*Registry).compact},
	{"cancel", "", "end the job on the store", 0, 0, nil, (*Registry).cancelJob},
}

var imageVerbs = []verb[*Image]{
	{"delete", "", "forget the image; its file stays as it is", 0, 0, []State{Queued, Saving, Active, Killed}, (*Image).delete},
	{"rename", "NAME", "give the image another name", 1, 1, []State{Active, Killed}, (*Image).rename},
	{"set", "KEY VALUE", `say something about the image; "" takes it back`, 2, 2, []State{Active, Killed}, (*Image).set},
	{"clone", "VOLUME [size=N]", "make a volume, a writable disk that begins as the image is", 1, 2, []State{Active}, (*Image).clone},
	{"prefetch", "[OFF LEN]", "load a range into the store, in bytes, or all there is, as a job", 0, 2, []State{Active}, (*Image).prefetch},
	{"hydrate", "", "load all into the store and keep it: then the source is not needed any more; a job", 0, 0, []State{Active}, (*Image).hydrate},
	{"evict", "", "drop from the store what the source can give again, as a job", 0, 0, []State{Active}, (*Image).evict},
	{"verify", "", "hash every block that the store has again; what is damaged is loaded again; a job", 0, 0, []State{Active}, (*Image).verify},
	{"export", "FORMAT DEST [KEY=VALUE ...]", "write the disk to a file in a format, and read that back; force=yes replaces DEST, verify=no trusts the writing, space_check=no begins even if the data do not fit, level=N is how hard to compress; the other keys are the format's. A job", 2, math.MaxInt, []State{Active}, (*Image).export},
	{"cancel", "", "end the job", 0, 0, []State{Active}, (*Image).cancelJob},
}

func (v verb[T]) usage() string { return strings.TrimSpace(v.name + " " + v.args) }

func (v verb[T]) usable(state State) bool { return v.in == nil || slices.Contains(v.in, state) }

// usage lists the verbs that may be used in a state, a line each: what to write, and what it does behind two blanks.
func usage[T any](table []verb[T], state State) string {
	var text strings.Builder
	for _, v := range table {
		if v.usable(state) {
			fmt.Fprintf(&text, "%s  # %s\n", v.usage(), v.help)
		}
	}
	return text.String()
}

// perform runs a command on its target, which is in the given state.
func perform[T any](ctx context.Context, table []verb[T], target T, state State, line string) error {
	words, err := Parse(line)
	if err != nil {
		return err
	}
	v, err := find(table, words[0])
	if err != nil {
		return err
	}
	args := words[1:]
	switch {
	case !v.usable(state):
		return refuse(ErrBusy, "%s: not while it is %s", v.name, state)
	case len(args) < v.min || len(args) > v.max:
		return refuse(ErrUsage, "%s: %d words follow: write %s", v.name, len(args), v.usage())
	}
	if err := v.run(target, ctx, args); err != nil {
		return fmt.Errorf("%s: %w", v.name, err)
	}
	return nil
}

func find[T any](table []verb[T], name string) (verb[T], error) {
	var known []string
	for _, v := range table {
		if v.name == name {
			return v, nil
		}
		known = append(known, v.name)
	}
	return verb[T]{}, refuse(ErrUsage, "unknown verb %q: there are %s", name, strings.Join(known, ", "))
}
