package fat

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"unicode/utf8"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

// Attributes of a directory entry. A part of a long name has the lowest four.
const (
	attrReadOnly = 0x01
	attrLabel    = 0x08
	attrDir      = 0x10
	attrLong     = 0x0F
)

const (
	recordSize = 32
	maxRecords = 65536 // of a directory
)

// directory says where the records of a directory are: a chain, or the fixed root of FAT12 and
// FAT16.
type directory struct {
	first     uint32 // cluster; 0 in the fixed root
	off, size int64
}

// record is a directory entry, 32 bytes.
type record struct {
	raw   []byte // valid until the next
	attr  byte
	at    int64 // offset on the disk
	index int   // in the directory
}

// extent returns the place of byte off of a directory, and how many bytes are there. The end is
// io.EOF.
func (t *fatTree) extent(ctx context.Context, d directory, off int64) (at, n int64, err error) {
	const most = 64 << 10
	if d.first != 0 {
		return t.run(ctx, d.first, off, most)
	}
	if off >= d.size {
		return 0, 0, io.EOF
	}
	return d.off + off, min(most, d.size-off), nil
}

// records calls fn for the records in use from an index on, until it returns false. The record
// whose first byte is 0 ends a directory.
func (t *fatTree) records(ctx context.Context, d directory, from int, fn func(record) bool) error {
	buf := make([]byte, 2048)
	for index := from; index < maxRecords; {
		at, n, err := t.extent(ctx, d, int64(index)*recordSize)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for ; n > 0 && index < maxRecords; n -= int64(len(buf)) {
			buf = buf[:min(n, int64(cap(buf)))]
			if err := t.src.ReadMeta(ctx, buf, at); err != nil {
				return err
			}
			for b := buf; len(b) > 0; b = b[recordSize:] {
				if b[0] == 0 {
					return nil
				}
				if b[0] != 0xE5 && !fn(record{b[:recordSize], b[11], at, index}) {
					return nil
				}
				at, index = at+recordSize, index+1
			}
		}
	}
	return nil
}

// dirEntry is a name in a directory. A file has its long name, else its short one;
// short is the name that every file has, for comparison.
type dirEntry struct {
	name, short []byte
	record
}

// list calls fn for the entries of a directory. The memory of names is used again.
func (t *fatTree) list(ctx context.Context, d directory, from int, fn func(dirEntry) bool) error {
	var long longName
	var nameBuf, shortBuf []byte
	return t.records(ctx, d, from, func(r record) bool {
		if r.attr&0x3F == attrLong {
			long.add(r.raw, r.index)
			return true
		}
		if r.attr&attrLabel != 0 || r.raw[0] == '.' { // a label, "." or ".."
			long.parts = nil
			return true
		}
		shortBuf = appendShort(shortBuf[:0], r.raw)
		e := dirEntry{shortBuf, shortBuf, r}
		if units := long.take(r.raw, r.index); units != nil {
			nameBuf = appendUTF16(nameBuf[:0], units)
			e.name = nameBuf
		}
		return fn(e)
	})
}

// place returns the directory with an ID.
func (t *fatTree) place(ctx context.Context, id tree.ID) (directory, error) {
	if id == rootID {
		return t.root, nil
	}
	f, err := t.file(ctx, id)
	if err != nil {
		return directory{}, err
	}
	if f.attr&attrDir == 0 {
		return directory{}, tree.ErrNotDir
	}
	return directory{first: f.first}, t.valid(f.first, 0)
}

// ReadDir lists the files of a directory. A cookie is the index of the record after the entry.
func (t *fatTree) ReadDir(ctx context.Context, id tree.ID, cookie uint64, fn func(tree.Entry) bool) error {
	d, err := t.place(ctx, id)
	if err != nil {
		return err
	}
	return t.list(ctx, d, int(min(cookie, maxRecords)), func(e dirEntry) bool {
		kind := uint32(tree.TypeFile)
		if e.attr&attrDir != 0 {
			kind = tree.TypeDir
		}
		return fn(tree.Entry{Name: e.name, ID: tree.ID(e.at / recordSize), Type: kind, Cookie: uint64(e.index) + 1})
	})
}

// Lookup compares without case, as FAT does. The exact name is preferred to one of another case,
// and long names to short ones.
func (t *fatTree) Lookup(ctx context.Context, dir tree.ID, wanted []byte) (tree.ID, error) {
	d, err := t.place(ctx, dir)
	if err != nil {
		return 0, err
	}
	var found tree.ID
	best := 0
	err = t.list(ctx, d, 0, func(e dirEntry) bool {
		match := 0
		switch {
		case bytes.Equal(e.name, wanted):
			match = 3
		case bytes.EqualFold(e.name, wanted) && utf8.Valid(wanted):
			match = 2
		case bytes.EqualFold(e.short, wanted) && utf8.Valid(wanted):
			match = 1
		}
		if match > best {
			best, found = match, tree.ID(e.at/recordSize)
		}
		return best < 3
	})
	if err == nil && best == 0 {
		err = fs.ErrNotExist
	}
	return found, err
}

const rootID = 1

// file is the record of a file, by its ID.
type file struct {
	raw   [recordSize]byte
	attr  byte
	first uint32 // cluster
	size  int64
}

// file reads the record that an ID names.
func (t *fatTree) file(ctx context.Context, id tree.ID) (f file, err error) {
	if uint64(id) >= uint64(t.src.Size())/recordSize {
		return f, disk.Corrupt(name, "ID", "%d: the disk has %d bytes", id, t.src.Size())
	}
	if err := t.src.ReadMeta(ctx, f.raw[:], int64(id)*recordSize); err != nil {
		return f, err
	}
	f.attr, f.size = f.raw[11], int64(binary.LittleEndian.Uint32(f.raw[28:]))
	f.first = uint32(binary.LittleEndian.Uint16(f.raw[26:]))
	if t.bits == 32 {
		f.first |= uint32(binary.LittleEndian.Uint16(f.raw[20:])&0x0FFF) << 16
	}
	return f, nil
}

// ReadAt reads the clusters of a file, each run of them at once.
func (t *fatTree) ReadAt(ctx context.Context, id tree.ID, p []byte, off int64) (int, error) {
	if id == rootID {
		return 0, tree.ErrIsDir
	}
	f, err := t.file(ctx, id)
	switch {
	case err != nil:
		return 0, err
	case f.attr&attrDir != 0:
		return 0, tree.ErrIsDir
	case off < 0:
		return 0, errors.New("fat: read at a negative offset")
	case off >= f.size:
		return 0, io.EOF
	}
	short := int64(len(p)) > f.size-off
	p = p[:min(int64(len(p)), f.size-off)]
	done := 0
	for done < len(p) {
		at, n, err := t.run(ctx, f.first, off+int64(done), int64(len(p)-done))
		if err == io.EOF {
			err = disk.Corrupt(name, "table", "the chain from cluster %d ends before byte %d of %d", f.first, off+int64(done), f.size)
		}
		if err == nil {
			err = t.src.ReadAt(ctx, p[done:done+int(n)], at)
		}
		if err != nil {
			return done, err
		}
		done += int(n)
	}
	if short {
		return done, io.EOF
	}
	return done, nil
}

// Root is the root directory, which has no record: byte 32 of the disk is in the boot sector.
func (t *fatTree) Root() tree.ID { return rootID }

// Stat makes up the modes: writable by root unless the file is read-only. Directories have no size.
func (t *fatTree) Stat(ctx context.Context, id tree.ID) (tree.Attr, error) {
	if id == rootID {
		return tree.Attr{ID: id, Mode: tree.TypeDir | 0o755, Links: 1}, ctx.Err()
	}
	f, err := t.file(ctx, id)
	if err != nil {
		return tree.Attr{}, err
	}
	a := tree.Attr{ID: id, Mode: tree.TypeDir | 0o755, Links: 1}
	if f.attr&attrDir == 0 {
		a.Mode, a.Size = tree.TypeFile|0o644, f.size
		a.Allocated = (f.size + t.clusterSize - 1) / t.clusterSize * t.clusterSize
	}
	if f.attr&attrReadOnly != 0 {
		a.Mode &^= 0o222
	}
	le := binary.LittleEndian
	a.Mtime = fatTime(le.Uint16(f.raw[24:]), le.Uint16(f.raw[22:]), 0)
	a.Btime = fatTime(le.Uint16(f.raw[16:]), le.Uint16(f.raw[14:]), f.raw[13])
	a.Atime = fatTime(le.Uint16(f.raw[18:]), 0, 0)
	return a, nil
}
