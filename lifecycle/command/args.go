package command

import (
	iofs "io/fs"
	"slices"
	"strconv"
	"strings"
)

// Args are the words of one command after its verb, each checked by its rule.
type Args struct {
	values map[string]string
	others []string
}

// Has reports whether an argument or option was given.
func (a *Args) Has(key string) bool { _, ok := a.values[key]; return ok }

// Text returns the value of an argument or option, "" if it was not given.
func (a *Args) Text(key string) string { return a.values[key] }

// Or returns the value of an option, or otherwise if it was not given.
func (a *Args) Or(key, otherwise string) string {
	if v, ok := a.values[key]; ok {
		return v
	}
	return otherwise
}

// Int returns the value of an option whose rule allows only numbers, or otherwise if it was not
// given.
func (a *Args) Int(key string, otherwise int64) int64 {
	n, err := strconv.ParseInt(a.values[key], 10, 64)
	if err != nil {
		return otherwise
	}
	return n
}

// Yes returns the value of an option of the rule Yes, or otherwise if it was not given.
func (a *Args) Yes(key string, otherwise bool) bool {
	if v, ok := a.values[key]; ok {
		return v == "yes"
	}
	return otherwise
}

// Others returns the words KEY=VALUE whose keys are not the verb's own (Spec.Others).
func (a *Args) Others() []string { return a.others }

// parse checks the words after the verb against its row.
func (s Spec) parse(words []string) (*Args, error) {
	args := &Args{values: map[string]string{}}
	rest, err := s.parsePositional(args, words)
	if err != nil {
		return nil, err
	}
	for _, w := range rest {
		if err := s.parseOption(args, w); err != nil {
			return nil, err
		}
	}
	for _, o := range s.Options {
		if o.Required && !args.Has(o.Key) {
			return nil, Refuse(ErrUsage, "%s is missing: write %s", o.Key, s.Usage())
		}
	}
	return args, nil
}

func (s Spec) parsePositional(args *Args, words []string) (rest []string, err error) {
	takesKeys := len(s.Options) > 0 || s.Others != ""
	for i, a := range s.Args {
		if i == len(words) {
			if a.Optional {
				return nil, nil
			}
			return nil, s.wrongCount(len(words))
		}
		if a.Optional && takesKeys && strings.Contains(words[i], "=") {
			return words[i:], nil
		}
		if err := a.check(words[i]); err != nil {
			return nil, err
		}
		args.values[a.Key] = words[i]
	}
	rest = words[len(s.Args):]
	if len(rest) > 0 && !takesKeys {
		return nil, s.wrongCount(len(words))
	}
	return rest, nil
}

func (s Spec) wrongCount(got int) error {
	least, most := 0, len(s.Args)
	for _, a := range s.Args {
		if !a.Optional {
			least++
		}
	}
	takes := strconv.Itoa(least)
	if most > least {
		takes += " to " + strconv.Itoa(most)
	}
	return Refuse(ErrUsage, "takes %s arguments, got %d: write %s", takes, got, s.Usage())
}

func (s Spec) parseOption(args *Args, word string) error {
	key, value, ok := strings.Cut(word, "=")
	if !ok || key == "" {
		return Refuse(ErrUsage, "%q is not KEY=VALUE: write %s", word, s.Usage())
	}
	if args.Has(key) || slices.ContainsFunc(args.others, func(w string) bool { return strings.HasPrefix(w, key+"=") }) {
		return Refuse(ErrUsage, "%s is given twice", key)
	}
	i := slices.IndexFunc(s.Options, func(o Option) bool { return o.Key == key })
	switch {
	case i >= 0:
		args.values[key] = value
		return s.Options[i].check(value)
	case s.Others != "":
		args.others = append(args.others, word)
		return nil
	}
	return Refuse(iofs.ErrInvalid, "unknown key %q: known are %s", key, strings.Join(s.keys(), ", "))
}

func (s Spec) keys() []string {
	var keys []string
	for _, o := range s.Options {
		keys = append(keys, o.Key)
	}
	return keys
}

// check refuses a value in words that name the key, the value and the rule.
func (o Option) check(value string) error {
	if o.Rule == nil {
		return nil
	}
	if err := o.Rule.Check(value); err != nil {
		return Refuse(iofs.ErrInvalid, "%s=%s: %v", o.Key, shown(value), err)
	}
	return nil
}

// shown is a value in an error text, cut if it is long.
func shown(value string) string {
	const most = 64
	if len(value) > most {
		value = strings.ToValidUTF8(value[:most], "") + "…"
	}
	return Quote(value)
}

// CheckOption refuses a KEY and a VALUE that are not among the given options. It is for verbs that
// take both as arguments.
func CheckOption(known []Option, key, value string) error {
	var keys []string
	for _, o := range known {
		if o.Key == key {
			return o.check(value)
		}
		keys = append(keys, o.Key)
	}
	return Refuse(iofs.ErrInvalid, "unknown key %q: known are %s", key, strings.Join(keys, ", "))
}
