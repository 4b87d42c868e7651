package vhdx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/imsfs/imsfs/formats"
)

// maxKeyValues bounds the work on a parent locator; five keys are known.
const maxKeyValues = 128

// locator has the names of the parent.
type locator struct {
	values map[string]string // by key
}

// decodeLocator reads the item in b, which is at an offset of the file. If it reports something
// wrong, the result is nil. The error is for a parent of another kind.
func decodeLocator(b []byte, at int64, report report) (*locator, error) {
	le := binary.LittleEndian
	if len(b) < 20 {
		report(at, "parent locator: it has %d bytes, must have at least 20", len(b))
		return nil, nil
	}
	if kind := guid(b[:16]).String(); kind != vhdxLocator {
		return nil, fmt.Errorf("vhdx: a parent locator of type %s, only that of VHDX, %s, is known: %w", kind, vhdxLocator, errors.ErrUnsupported)
	}
	count := int(le.Uint16(b[18:]))
	if count > maxKeyValues || 20+count*12 > len(b) {
		report(at+18, "parent locator: key_value_count is %d, must be at most %d and fit the item of %d bytes", count, maxKeyValues, len(b))
		return nil, nil
	}
	l := &locator{map[string]string{}}
	for i := range count {
		e := b[20+i*12:]
		key, fault := locatorText(b, le.Uint32(e), le.Uint16(e[8:]))
		value, valueFault := locatorText(b, le.Uint32(e[4:]), le.Uint16(e[10:]))
		_, twice := l.values[key]
		switch {
		case fault != "":
			report(at+20+int64(i)*12, "parent locator: key %d: %s", i, fault)
			return nil, nil
		case valueFault != "":
			report(at+20+int64(i)*12, "parent locator: the value of %q: %s", key, valueFault)
			return nil, nil
		case twice:
			report(at+20+int64(i)*12, "parent locator: there is a second %q", key)
			return nil, nil
		}
		l.values[key] = value
	}
	if fault := l.fault(); fault != "" {
		report(at, "parent locator: %s", fault)
		return nil, nil
	}
	return l, nil
}

// fault names a value that a locator must have and does not.
func (l *locator) fault() string {
	if _, ok := parseGUID(l.values["parent_linkage"]); !ok {
		return fmt.Sprintf("parent_linkage is %q, must be a GUID", l.values["parent_linkage"])
	}
	if len(l.backing().Paths) == 0 {
		return "it has none of relative_path, volume_path and absolute_win32_path"
	}
	return ""
}

// locatorText reads a UTF-16 string of the item.
func locatorText(b []byte, off uint32, length uint16) (text, fault string) {
	if off == 0 || length == 0 || length%2 != 0 || int64(off)+int64(length) > int64(len(b)) {
		return "", fmt.Sprintf("[%d, +%d) must be a string of 16-bit characters within the item of %d bytes", off, length, len(b))
	}
	text = decodeUTF16(b[off:][:length])
	if strings.ContainsRune(text, 0) {
		return "", fmt.Sprintf("%q holds a NUL", text)
	}
	return text, ""
}

func decodeUTF16(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// pathKeys are in the order in which the format tries the paths.
var pathKeys = []string{"relative_path", "volume_path", "absolute_win32_path"}

// backing names the parent, with slashes as separators. Of a path that begins at a drive or a
// volume only the last element is used, which is looked for beside the image: if it is another
// disk, its ID differs.
func (l *locator) backing() *formats.Backing {
	b := &formats.Backing{Format: name, ID: l.linkage()}
	for _, key := range pathKeys {
		path := strings.ReplaceAll(l.values[key], `\`, "/")
		if key != pathKeys[0] {
			path = path[strings.LastIndexAny(path, "/:")+1:]
		}
		for strings.HasPrefix(path, "./") {
			path = strings.TrimLeft(path[2:], "/")
		}
		if path != "" && !slices.Contains(b.Paths, path) {
			b.Paths = append(b.Paths, path)
		}
	}
	return b
}

// linkage is the parent's DataWriteGuid, "" if it is unknown: while a child is being merged into
// its parent there are two, and either may be right.
func (l *locator) linkage() string {
	id, _ := parseGUID(l.values["parent_linkage"])
	if second, ok := l.values["parent_linkage2"]; ok && !strings.EqualFold(second, l.values["parent_linkage"]) {
		return ""
	}
	return id.String()
}

// details are the keys and values as they stand, in a stable order.
func (l *locator) details() []formats.Detail {
	var d []formats.Detail
	for _, key := range append([]string{"parent_linkage", "parent_linkage2"}, pathKeys...) {
		if v, ok := l.values[key]; ok {
			d = append(d, formats.Detail{Key: key, Value: printable(v)})
		}
	}
	return d
}
