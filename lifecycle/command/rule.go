package command

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Rule decides which values an argument or an option may have.
type Rule interface {
	// Check returns nil, or says in a few words why the value is not allowed.
	Check(value string) error
	// Words describes the allowed values, to follow "must be".
	Words() string
}

// simple is a rule whose words are all that can be said of a wrong value.
type simple struct {
	allows func(string) bool
	words  string
}

func (r simple) Words() string { return r.words }

func (r simple) Check(value string) error {
	if r.allows(value) {
		return nil
	}
	return errors.New("must be " + r.words)
}

// OneOf allows the given values.
func OneOf(values ...string) Rule {
	words := values[0]
	if n := len(values) - 1; n > 0 {
		words = strings.Join(values[:n], ", ") + " or " + values[n]
	}
	return oneOf{simple{func(v string) bool { return slices.Contains(values, v) }, words}, values}
}

type oneOf struct {
	simple
	values []string
}

// Values returns the values that a rule allows, nil unless they are few.
func Values(r Rule) []string {
	switch r := r.(type) {
	case oneOf:
		return r.values
	case orNone:
		return Values(r.Rule)
	}
	return nil
}

// Yes allows yes and no.
func Yes() Rule { return OneOf("yes", "no") }

// Text allows any text of at most so many bytes.
func Text(most int) Rule {
	return text(most)
}

type text int

func (most text) Words() string { return fmt.Sprintf("a text of at most %d bytes", int(most)) }

func (most text) Check(v string) error {
	if len(v) > int(most) {
		return fmt.Errorf("has %d bytes (at most %d)", len(v), int(most))
	}
	return nil
}

// Number allows whole decimal numbers from 0 to most. unit names the things they count; "" is none.
func Number(unit string, most uint64) Rule {
	of := ""
	if unit != "" {
		of = " of " + unit
	}
	return simple{func(v string) bool {
		n, err := strconv.ParseUint(v, 10, 64)
		return err == nil && n <= most && strconv.FormatUint(n, 10) == v
	}, fmt.Sprintf("a whole number%s from 0 to %d", of, most)}
}

// Bytes allows numbers of bytes from 0 to most.
func Bytes(most int64) Rule {
	return simple{func(v string) bool {
		n, err := strconv.ParseInt(v, 10, 64)
		return err == nil && n >= 0 && n <= most
	}, fmt.Sprintf("a number of bytes from 0 to %d", most)}
}

// DiskSize allows the sizes a volume can have: multiples of 512 bytes from 512 to most.
func DiskSize(most int64) Rule {
	return simple{func(v string) bool {
		n, err := strconv.ParseInt(v, 10, 64)
		return err == nil && n > 0 && n <= most && n%512 == 0
	}, fmt.Sprintf("bytes, a multiple of 512 from 512 to %d", most)}
}

// Path allows absolute paths.
func Path() Rule {
	return simple{func(v string) bool { return path.IsAbs(v) && !strings.HasSuffix(v, "/") },
		"the absolute path of a file, which is the same for every caller"}
}

// Name allows names that can be file names in the tree and do no harm there.
func Name() Rule { return name{} }

type name struct{}

func (name) Words() string { return "a name of 1 to 255 bytes of UTF-8, without slash" }

func (name) Check(v string) error {
	switch {
	case v == "":
		return errors.New("is empty")
	case len(v) > 255:
		return fmt.Errorf("has %d bytes (at most 255)", len(v))
	case !utf8.ValidString(v):
		return errors.New("is not UTF-8")
	case v == "." || v == "..":
		return errors.New("means a directory")
	case strings.Contains(v, "/"):
		return errors.New("has a slash")
	case strings.ContainsFunc(v, unicode.IsControl):
		return errors.New("has a control character")
	case v != strings.TrimSpace(v):
		return errors.New("begins or ends with a blank")
	case strings.HasPrefix(v, "-"):
		return errors.New("begins with a dash")
	}
	return nil
}

// OrNone allows the values of a rule, and the empty value, which takes an earlier one back.
func OrNone(r Rule) Rule { return orNone{r} }

type orNone struct{ Rule }

func (r orNone) Check(v string) error {
	if v == "" {
		return nil
	}
	return r.Rule.Check(v)
}
