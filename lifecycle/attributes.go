package lifecycle

import (
	iofs "io/fs"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Attribute is something people say about an image; imsfs itself only minds "protected".
type Attribute struct{ Key, Value string }

// MaxValue is the most bytes an attribute's value may have.
const MaxValue = 1024

// attribute is a key with the rule its values keep.
type attribute struct {
	key string
	rule
}

// rule tells whether a value is allowed, and in words which ones are.
type rule struct {
	allows func(string) bool
	words  string
}

// attributes are all keys, in the order in which they are shown.
var attributes = []attribute{
	{"description", text()},
	{"type", oneOf("system", "data", "iso", "whole")},
	{"os", oneOf("linux", "windows", "other")},
	{"os_version", text()},
	{"arch", oneOf("x86_64", "aarch64")},
	{"firmware", oneOf("bios", "uefi")},
	{"min_disk", number("GiB")},
	{"min_ram", number("MiB")},
	{"protected", oneOf("yes", "no")},
}

func text() rule {
	return rule{func(string) bool { return true }, "any text"}
}

func oneOf(values ...string) rule {
	return rule{func(v string) bool { return slices.Contains(values, v) }, "one of " + strings.Join(values, ", ")}
}

func number(unit string) rule {
	const most = 1 << 30
	return rule{func(v string) bool {
		n, err := strconv.ParseUint(v, 10, 64)
		return err == nil && n <= most && strconv.FormatUint(n, 10) == v
	}, "a whole number of " + unit + " from 0 to " + strconv.Itoa(most)}
}

// checkAttribute refuses a key or a value that is not allowed. An empty value, which clears, always is.
func checkAttribute(key, value string) error {
	var known []string
	for _, a := range attributes {
		if a.key != key {
			known = append(known, a.key)
			continue
		}
		switch {
		case len(value) > MaxValue:
			return refuse(iofs.ErrInvalid, "%s has %d bytes: at most %d are kept", key, len(value), MaxValue)
		case value != "" && !a.allows(value):
			return refuse(iofs.ErrInvalid, "%s=%s: it must be %s", key, Quote(value), a.words)
		}
		return nil
	}
	return refuse(iofs.ErrInvalid, "unknown key %q: there are %s", key, strings.Join(known, ", "))
}

// checkName refuses what cannot be a file name in the tree, or would be a nuisance as one.
func checkName(name string) error {
	why := ""
	switch {
	case name == "":
		why = "it is empty"
	case len(name) > 255:
		why = "it has more than 255 bytes"
	case !utf8.ValidString(name):
		why = "it is not UTF-8"
	case name == "." || name == "..":
		why = "it means a directory"
	case strings.Contains(name, "/"):
		why = "it has a slash"
	case strings.ContainsFunc(name, unicode.IsControl):
		why = "it has a control character"
	case name != strings.TrimSpace(name):
		why = "it begins or ends with a blank"
	case strings.HasPrefix(name, "-"):
		why = "it begins with a dash"
	default:
		return nil
	}
	return refuse(iofs.ErrInvalid, "%q cannot be a name: %s", name, why)
}
