package vmdk

import (
	"slices"
	"strconv"
	"strings"
)

// Types of extents that are read.
const (
	typeFlat   = "FLAT"
	typeSparse = "SPARSE"
	typeZero   = "ZERO"
	typeVMFS   = "VMFS" // a flat file on ESX's file system

	typeVMFSSparse = "VMFSSPARSE"
	typeSESparse   = "SESPARSE"
)

// refused are types of extents that are known and not read.
var refused = map[string]string{
	"VMFSRDM": "a raw device mapping", "VMFSRAW": "a raw device mapping",
}

// extentLine is a line of a descriptor: access, length, type and, except for ZERO, the file and the
// offset of its bytes.
type extentLine struct {
	at      int64 // of the line
	kind    string
	sectors int64
	file    string
	offset  int64 // sectors
}

func isAccess(word string) bool {
	switch strings.ToUpper(word) {
	case "RW", "RDONLY", "NOACCESS":
		return true
	}
	return false
}

// extent parses a line that starts with an access word.
func (p *parser) extent(off int64, line string) (extentLine, error) {
	access, rest, _ := cutWord(line)
	length, rest, _ := cutWord(rest)
	kind, rest, _ := cutWord(rest)
	e := extentLine{at: off, kind: strings.ToUpper(kind)}
	n, ok := parseSectors(length)
	switch {
	case !ok || n == 0:
		return e, p.file.corrupt(off, "descriptor: extent of %s sectors, must be 1 to %d", shorten(length), int64(maxSectors))
	case refused[e.kind] != "":
		return e, p.file.unsupported("%s (type %s) is not read", refused[e.kind], e.kind)
	case !slices.Contains([]string{typeFlat, typeSparse, typeZero, typeVMFS, typeVMFSSparse, typeSESparse}, e.kind):
		return e, p.file.unsupported("an extent of type %s is not read", shorten(kind))
	case strings.EqualFold(access, "NOACCESS"):
		return e, p.file.unsupported("an extent with access NOACCESS is not read")
	}
	e.sectors = n
	if e.kind == typeZero {
		if rest != "" {
			return e, p.file.corrupt(off, "descriptor: %s follows an extent of type ZERO", shorten(rest))
		}
		return e, nil
	}
	return e, p.place(&e, rest)
}

// place parses the rest of the line: the file's name in quotes and an offset, which FLAT must have
// and SPARSE does not. An offset may be followed by more words: VMware adds the partition's UUID
// and the device's identifier.
func (p *parser) place(e *extentLine, rest string) error {
	quoted, ok := strings.CutPrefix(rest, `"`)
	file, rest, closed := strings.Cut(quoted, `"`)
	if !ok || !closed || file == "" {
		return p.file.corrupt(e.at, "descriptor: an extent of type %s must have the name of its file in quotes", e.kind)
	}
	if strings.ContainsFunc(file, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return p.file.corrupt(e.at, "descriptor: the file name %s has control characters", shorten(file))
	}
	e.file = file
	offset, _, given := cutWord(strings.TrimLeft(rest, " \t"))
	if e.offset, ok = parseSectors(offset); given && !ok {
		return p.file.corrupt(e.at, "descriptor: offset %s of the extent in %s, must be a number up to %d", shorten(offset), shorten(file), int64(maxSectors))
	}
	if given != (e.kind == typeFlat) && e.kind != typeVMFS {
		return p.file.corrupt(e.at, "descriptor: the extent in %s of type %s: FLAT must have an offset, sparse ones none", shorten(file), e.kind)
	}
	return nil
}

// parseSectors reads a decimal number that, in bytes, is within the largest disk.
func parseSectors(word string) (int64, bool) {
	n, err := strconv.ParseUint(word, 10, 63)
	return int64(n), err == nil && n <= maxSectors
}

// cutWord takes the first word off.
func cutWord(s string) (word, rest string, ok bool) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, "", s != ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t"), true
}
