package source

import (
	"errors"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Rules that a name inside an image may break. The name alone decides, before anything is looked up.
var (
	errEmpty    = errors.New("it is empty")
	errControl  = errors.New("it has control characters or is not UTF-8")
	errLong     = errors.New("it is longer than any path")
	errDir      = errors.New("it names a directory")
	errProtocol = errors.New("it begins with a protocol, and only paths are followed")

	// ErrDots is the rule about ".." that holds for all kinds.
	ErrDots = errors.New(`".." is only followed at the beginning of a path`)
)

const maxName = 4095 // bytes of a path, as Linux has it

// Name is a name inside an image, as a clean path: absolute, or relative to the image's directory.
type Name string

// ParseName checks a name by the rules that hold for all kinds.
//
// An image is hostile input. Anyone who can have it registered could otherwise read other files of
// the host by the names in it.
func ParseName(text string) (Name, error) {
	var broken error
	switch {
	case text == "":
		broken = errEmpty
	case len(text) > maxName:
		broken = errLong
	case !utf8.ValidString(text) || strings.ContainsFunc(text, notText):
		broken = errControl
	case hasProtocol(text):
		broken = errProtocol
	case ClimbsLate(text):
		broken = ErrDots
	case strings.HasSuffix(text, "/"), strings.HasSuffix("/"+text, "/."):
		broken = errDir
	}
	if broken != nil {
		return "", Refuse("%w", broken)
	}
	return Name(path.Clean(text)), nil
}

// IsAbs reports whether the name is an absolute path.
func (n Name) IsAbs() bool { return path.IsAbs(string(n)) }

// IsLocal reports whether the name, by its words, stays in the image's directory. Links can still
// lead elsewhere.
func (n Name) IsLocal() bool {
	return !n.IsAbs() && n != ".." && !strings.HasPrefix(string(n), "../")
}

// notText reports whether a character changes how the text around it is shown: errors print names.
func notText(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
}

// hasProtocol applies QEMU's rule: a colon before the first slash. It matches "nbd://…", "json:{…}",
// "file:…" and the drive letters of Windows. A file of such a name can be written as "./a:b".
func hasProtocol(name string) bool {
	i := strings.IndexAny(name, ":/")
	return i >= 0 && name[i] == ':'
}

// ClimbsLate reports whether a path has ".." after another element. Its meaning depends on whether
// that element is a link, so words alone cannot decide it.
func ClimbsLate(name string) bool {
	after := strings.HasPrefix(name, "/")
	for element := range strings.SplitSeq(name, "/") {
		switch element {
		case "", ".":
		case "..":
			if after {
				return true
			}
		default:
			after = true
		}
	}
	return false
}
