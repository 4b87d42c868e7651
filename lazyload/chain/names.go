package chain

import (
	"errors"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Rules that a name inside an image may break. They are told by the name alone, before anything is looked for.
var (
	errEmpty    = errors.New("it is empty")
	errControl  = errors.New("it has characters that are no text")
	errLong     = errors.New("it is longer than any path")
	errDir      = errors.New("it names a directory")
	errAbsolute = errors.New("an absolute path is only followed into a directory that the operator allows")
	errClimbs   = errors.New(`a path with ".." is only followed into a directory that the operator allows`)
	errDots     = errors.New(`".." is only followed at the beginning of a path`)
	errProtocol = errors.New("it begins with a protocol, and only files are followed")
)

const maxName = 4095 // bytes of a path, as Linux has it

// parseName is a name as a path of this system: absolute, or relative to the image's directory, and clean. local tells
// that by its words it stays in that directory.
func parseName(name string) (path string, local bool, err error) {
	switch {
	case name == "":
		return "", false, errEmpty
	case len(name) > maxName:
		return "", false, errLong
	case !utf8.ValidString(name) || strings.ContainsFunc(name, noText):
		return "", false, errControl
	case hasProtocol(name):
		return "", false, errProtocol
	case climbsLate(name):
		return "", false, errDots
	case strings.HasSuffix(name, "/"), strings.HasSuffix("/"+name, "/."):
		return "", false, errDir
	}
	path = filepath.Clean(name)
	return path, filepath.IsLocal(path), nil
}

// noText tells characters that change how what is around them is shown: an error has the path as it is.
func noText(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
}

// hasProtocol is QEMU's rule: a colon in front of the first slash. It takes in "nbd://…", "json:{…}", "file:…" and
// the drive letters of Windows; a file of such a name can be named "./a:b".
func hasProtocol(name string) bool {
	i := strings.IndexAny(name, ":/")
	return i >= 0 && name[i] == ':'
}

// climbsLate finds a ".." behind another element. What that means depends on links in the element, so it is not for
// arithmetic on words.
func climbsLate(name string) bool {
	behind := strings.HasPrefix(name, "/")
	for element := range strings.SplitSeq(name, "/") {
		switch element {
		case "", ".":
		case "..":
			if behind {
				return true
			}
		default:
			behind = true
		}
	}
	return false
}
