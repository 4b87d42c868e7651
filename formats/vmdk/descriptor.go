package vmdk

import (
	"bytes"
	"context"
	"iter"
	"strconv"
	"strings"
)

const (
	firstLine = "# Disk DescriptorFile"
	noParent  = 0xffffffff // parentCID of a disk without one
	// maxExtents is 8 TiB in extents of 2 GiB.
	maxExtents = 4096
)

// descriptor is the text that lists a disk's extents.
type descriptor struct {
	cid, parentCID uint32
	createType     string
	parentHint     string // parentFileNameHint
	extents        []extentLine
	ddb            map[string]string // the entries of the disk data base that are shown, by their names in lower case
}

// shownDDB are the entries of the disk data base worth showing.
var shownDDB = []string{"adaptertype", "virtualhwversion", "toolsversion", "uuid"}

// readDescriptor reads and parses the size bytes of text at off. Bytes after the first zero are
// padding. If all of it is padding, the result is nil.
func readDescriptor(ctx context.Context, f file, off, size int64) (*descriptor, error) {
	if size > maxDescriptorSize {
		return nil, f.corrupt(off, "descriptor: %d bytes, at most %d are read", size, maxDescriptorSize)
	}
	text := make([]byte, size)
	if err := f.read(ctx, text, off, "descriptor"); err != nil {
		return nil, err
	}
	if text, _, _ = bytes.Cut(text, []byte{0}); len(text) == 0 {
		return nil, nil
	}
	if rest, ok := bytes.CutPrefix(text, []byte(byteOrderMark)); ok {
		text, off = rest, off+int64(len(byteOrderMark))
	}
	return parseDescriptor(f, off, string(text))
}

func parseDescriptor(f file, at int64, text string) (*descriptor, error) {
	p := &parser{file: f, d: descriptor{ddb: map[string]string{}}, seen: map[string]string{}}
	for off, line := range lines(text) {
		if err := p.line(at+off, line); err != nil {
			return nil, err
		}
	}
	if err := p.finish(at); err != nil {
		return nil, err
	}
	return &p.d, nil
}

// lines yields the lines that are neither empty nor comments, without the spaces around them, and
// their offsets.
func lines(text string) iter.Seq2[int64, string] {
	return func(yield func(int64, string) bool) {
		off := int64(0)
		for line := range strings.SplitSeq(text, "\n") {
			start := off
			off += int64(len(line)) + 1
			line = strings.Trim(line, " \t\r")
			if line != "" && line[0] != '#' && !yield(start, line) {
				return
			}
		}
	}
}

// parser is a descriptor on its way.
type parser struct {
	file file
	d    descriptor
	seen map[string]string // values that must not be given twice, by key
}

func (p *parser) line(off int64, line string) error {
	if access, _, _ := cutWord(line); isAccess(access) {
		if len(p.d.extents) == maxExtents {
			return p.file.corrupt(off, "descriptor: more than %d extents", maxExtents)
		}
		e, err := p.extent(off, line)
		p.d.extents = append(p.d.extents, e)
		return err
	}
	key, value, ok := strings.Cut(line, "=")
	if !ok {
		return p.file.corrupt(off, "descriptor: the line %s is neither an extent nor KEY=VALUE", shorten(line))
	}
	key, value = strings.ToLower(strings.TrimSpace(key)), strings.Trim(strings.TrimSpace(value), `"`)
	switch key {
	case "version", "encoding", "cid", "parentcid", "createtype", "parentfilenamehint":
		if _, twice := p.seen[key]; twice {
			return p.file.corrupt(off, "descriptor: %s is given twice", key)
		}
		p.seen[key] = value
	default:
		if entry, ok := strings.CutPrefix(key, "ddb."); ok {
			p.d.ddb[entry] = value
		}
	}
	return nil
}

// finish makes sense of the values.
func (p *parser) finish(at int64) error {
	for _, key := range []string{"version", "cid", "parentcid", "createtype"} {
		if p.seen[key] == "" {
			return p.file.corrupt(at, "descriptor: %s is missing", key)
		}
	}
	if v, err := strconv.Atoi(p.seen["version"]); err != nil || v < 1 || v > 3 {
		return p.file.unsupported("descriptor version %s is not read, only 1 to 3", shorten(p.seen["version"]))
	}
	var err error
	if p.d.cid, err = p.id(at, "cid"); err != nil {
		return err
	}
	if p.d.parentCID, err = p.id(at, "parentcid"); err != nil {
		return err
	}
	p.d.createType, p.d.parentHint = p.seen["createtype"], p.seen["parentfilenamehint"]
	if err := p.decodeNames(at); err != nil {
		return err
	}
	switch {
	case p.d.parentCID != noParent && p.d.parentHint == "":
		return p.file.corrupt(at, "descriptor: parentCID is %08x and parentFileNameHint, which names the parent, is missing", p.d.parentCID)
	case p.d.parentCID == noParent && p.d.parentHint != "":
		return p.file.corrupt(at, "descriptor: parentFileNameHint is %s and parentCID, ffffffff, says that there is no parent", shorten(p.d.parentHint))
	}
	return nil
}

func (p *parser) id(at int64, key string) (uint32, error) {
	v, err := strconv.ParseUint(p.seen[key], 16, 32)
	if err != nil {
		return 0, p.file.corrupt(at, "descriptor: %s is %s, must be up to eight hexadecimal digits", key, shorten(p.seen[key]))
	}
	return uint32(v), nil
}
