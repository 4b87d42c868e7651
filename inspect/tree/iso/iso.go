// Package iso reads ISO 9660 with Rock Ridge or Joliet names.
//
// Volume descriptors from sector 16 on have the record of the root directory. A directory is a list
// of records, each with a name and a run of blocks. Rock Ridge adds entries to records: modes,
// owners, names, links, times. Joliet is a second tree with UTF-16 names. The ID of a file is the
// place of its record.
package iso

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf16"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

const (
	name           = "iso"
	sector         = 2048
	maxDescriptors = 64
)

var le = binary.LittleEndian

// Driver reads ISO 9660. The zero value is ready.
type Driver struct{}

var _ tree.Driver = Driver{}

// Name returns "iso".
func (Driver) Name() string { return name }

// Probe looks for the identifier of the first volume descriptor.
func (Driver) Probe(ctx context.Context, src disk.Source) (bool, error) {
	if src.Size() < 17*sector {
		return false, nil
	}
	b := make([]byte, 7)
	err := src.ReadMeta(ctx, b, 16*sector)
	return string(b[1:6]) == "CD001" && b[0] <= 3, err
}

// fileSystem is a Tree.
type fileSystem struct {
	src    disk.Source
	block  int64
	root   tree.ID
	rock   bool
	joliet bool
	skip   int // bytes before the Rock Ridge entries of a record
	info   tree.Info
}

// Open reads the descriptors. Rock Ridge is preferred to Joliet, and that to bare names.
func (Driver) Open(ctx context.Context, src disk.Source, _ tree.Options) (tree.Tree, error) {
	f := &fileSystem{src: src, info: tree.Info{Type: "iso9660", State: tree.Clean, Used: tree.Unknown}}
	var primary, joliet []byte
	for i := int64(16); i < 16+maxDescriptors && disk.Within(i*sector, sector, src.Size()); i++ {
		b := make([]byte, sector)
		if err := src.ReadMeta(ctx, b, i*sector); err != nil {
			return nil, err
		}
		if string(b[1:6]) != "CD001" || b[0] == 255 {
			break
		}
		switch escape := b[88:91]; {
		case b[0] == 0 && bytes.HasPrefix(b[7:], []byte("EL TORITO SPECIFICATION")):
			f.info.Features = append(f.info.Features, "El Torito")
			f.info.Notes = append(f.info.Notes, fmt.Sprintf("the boot catalog is in sector %d", le.Uint32(b[71:])))
		case b[0] == 1 && primary == nil:
			primary = b
		case b[0] == 2 && joliet == nil && escape[0] == '%' && escape[1] == '/' && bytes.IndexByte([]byte("@CE"), escape[2]) >= 0:
			joliet = b
		}
	}
	if primary == nil {
		return nil, disk.Corrupt(name, "volume descriptors", "a primary one is not there")
	}
	if err := f.use(primary); err != nil {
		return nil, err
	}
	if err := f.findRock(ctx); err != nil {
		return nil, err
	}
	if !f.rock && joliet != nil {
		f.joliet = true
		f.info.Features = append(f.info.Features, "Joliet")
		return f, f.use(joliet)
	}
	return f, nil
}

// use takes the sizes, names and root directory of a descriptor.
func (f *fileSystem) use(b []byte) error {
	f.block = int64(le.Uint16(b[128:]))
	if f.block != 512 && f.block != 1024 && f.block != sector {
		return disk.Corrupt(name, "volume descriptor", "blocks of %d bytes", f.block)
	}
	root := b[156:190]
	at := int64(le.Uint32(root[2:])) * f.block
	if root[25]&flagDir == 0 || !disk.Within(at, 34, f.src.Size()) {
		return disk.Corrupt(name, "volume descriptor", "the root directory at %d", at)
	}
	f.root = tree.ID(at)
	f.info.BlockSize, f.info.Size = f.block, int64(le.Uint32(b[80:]))*f.block
	f.info.Label = string(bytes.TrimRight(b[40:72], " \x00"))
	if f.joliet {
		f.info.Label = string(bytes.TrimRight(utf8Of(b[40:72]), " \x00"))
	}
	stamp := b[830:846] // of the last change, else of the creation
	if stamp[0] < '1' || stamp[0] > '9' {
		stamp = b[813:829]
	}
	f.info.UUID = fmt.Sprintf("%s-%s-%s-%s-%s-%s-%s", stamp[:4], stamp[4:6], stamp[6:8], stamp[8:10], stamp[10:12], stamp[12:14], stamp[14:16])
	return nil
}

// findRock looks for the entries SP and PX in the first record of the root directory.
func (f *fileSystem) findRock(ctx context.Context) error {
	r, err := f.needed(ctx, int64(f.root))
	if err != nil {
		return err
	}
	area := r.system(0)
	if len(area) < 7 || string(area[:2]) != "SP" || area[4] != 0xBE || area[5] != 0xEF {
		return nil
	}
	f.rock, f.skip = true, int(area[6])
	x, err := f.extra(ctx, r)
	if err == nil && x.mode == 0 {
		f.rock = false
	}
	if f.rock {
		f.info.Features = append(f.info.Features, "Rock Ridge")
	}
	return err
}

const (
	flagDir        = 2
	flagAssociated = 4
	flagMore       = 0x80 // the next record continues this file
)

// record is a directory record.
type record struct {
	at    int64
	raw   []byte
	block int64
}

func (r record) name() []byte { return r.raw[33 : 33+int(r.raw[32])] }
func (r record) flags() byte  { return r.raw[25] }
func (r record) size() int64  { return int64(le.Uint32(r.raw[10:])) }
func (r record) start() int64 { return (int64(le.Uint32(r.raw[2:])) + int64(r.raw[1])) * r.block }

// system returns the bytes after the name, without the first skip bytes.
func (r record) system(skip int) []byte {
	at := 33 + int(r.raw[32])
	at += at&1 + skip
	return r.raw[min(at, len(r.raw)):]
}

// record reads the record at a place. Records do not cross sectors. One of length 0 has no bytes.
func (f *fileSystem) record(ctx context.Context, at int64) (record, error) {
	room := min(255, sector-at%sector)
	if !disk.Within(at, room, f.src.Size()) {
		return record{}, disk.Corrupt(name, fmt.Sprintf("record at %d", at), "the disk has %d bytes", f.src.Size())
	}
	b := make([]byte, room)
	if err := f.src.ReadMeta(ctx, b, at); err != nil {
		return record{}, err
	}
	n := int(b[0])
	if n == 0 {
		return record{at: at}, nil
	}
	if n > len(b) || n < 34 || 33+int(b[32]) > n || b[32] == 0 {
		return record{}, disk.Corrupt(name, fmt.Sprintf("record at %d", at), "%d bytes", n)
	}
	return record{at, b[:n], f.block}, nil
}

// needed is record where an empty one is damage.
func (f *fileSystem) needed(ctx context.Context, at int64) (record, error) {
	r, err := f.record(ctx, at)
	if err == nil && r.raw == nil {
		err = disk.Corrupt(name, fmt.Sprintf("record at %d", at), "it is empty")
	}
	return r, err
}

// records calls fn for the records in [from, end) of the disk, until it returns false. next is the
// place of the record after it.
func (f *fileSystem) records(ctx context.Context, from, end int64, fn func(r record, next int64) (bool, error)) error {
	for from < end {
		r, err := f.record(ctx, from)
		if err != nil {
			return err
		}
		if r.raw == nil {
			from = (from/sector + 1) * sector
			continue
		}
		from += int64(len(r.raw))
		if more, err := fn(r, from); err != nil || !more {
			return err
		}
	}
	return nil
}

// entry reads the record of an ID with its Rock Ridge entries. A relocated directory has its own
// record in another place.
func (f *fileSystem) entry(ctx context.Context, id tree.ID) (record, extra, error) {
	r, err := f.needed(ctx, int64(id&(1<<62-1)))
	if err != nil {
		return r, extra{}, err
	}
	x, err := f.extra(ctx, r)
	if err != nil || x.child == 0 {
		return r, x, err
	}
	own, err := f.needed(ctx, x.child*f.block)
	if err == nil && own.flags()&flagDir == 0 {
		err = disk.Corrupt(name, fmt.Sprintf("record at %d", id), "the relocated directory at block %d is not one", x.child)
	}
	if err != nil {
		return r, x, err
	}
	x, err = f.extra(ctx, own)
	return own, x, err
}

func (f *fileSystem) Info() tree.Info { return f.info }
func (f *fileSystem) Root() tree.ID   { return f.root }

// Stat makes up modes if there is no Rock Ridge.
func (f *fileSystem) Stat(ctx context.Context, id tree.ID) (tree.Attr, error) {
	r, x, err := f.entry(ctx, id)
	if err != nil {
		return tree.Attr{}, err
	}
	a := tree.Attr{ID: id, Mode: tree.TypeFile | 0o444, Links: 1, Mtime: shortTime(r.raw[18:25])}
	if r.flags()&flagDir != 0 {
		a.Mode = tree.TypeDir | 0o555
	}
	if x.mode != 0 {
		a.Mode, a.UID, a.GID, a.Links, a.Major, a.Minor = x.mode, x.uid, x.gid, x.links, x.major, x.minor
	}
	if x.mtime.Known {
		a.Mtime, a.Atime, a.Ctime, a.Btime = x.mtime, x.atime, x.ctime, x.btime
	}
	if a.IsDir() != (r.flags()&flagDir != 0) {
		return a, disk.Corrupt(name, fmt.Sprintf("record at %d", id), "mode %o and flags 0x%x", a.Mode, r.flags())
	}
	switch a.Type() {
	case tree.TypeLink:
		a.Size = int64(len(x.target))
	case tree.TypeDir:
		a.Size = r.size()
	case tree.TypeFile:
		parts, err := f.parts(ctx, r)
		for _, p := range parts {
			a.Size += p.size()
		}
		a.Allocated = (a.Size + f.block - 1) / f.block * f.block
		return a, err
	}
	return a, nil
}

const maxParts = 1024 // of a file: 4 TiB

// parts returns the records of a file: one for each 4 GiB.
func (f *fileSystem) parts(ctx context.Context, r record) ([]record, error) {
	parts := []record{r}
	if r.flags()&flagMore == 0 {
		return parts, nil
	}
	err := f.records(ctx, r.at+int64(len(r.raw)), f.src.Size(), func(next record, _ int64) (bool, error) {
		parts = append(parts, next)
		if len(parts) > maxParts {
			return false, disk.Corrupt(name, fmt.Sprintf("record at %d", r.at), "more than %d parts", maxParts)
		}
		return next.flags()&flagMore != 0, nil
	})
	return parts, err
}

// ReadDir lists a directory. A cookie is the place of the next record.
func (f *fileSystem) ReadDir(ctx context.Context, id tree.ID, cookie uint64, fn func(tree.Entry) bool) error {
	dir, _, err := f.entry(ctx, id)
	if err != nil {
		return err
	}
	if dir.flags()&flagDir == 0 {
		return tree.ErrNotDir
	}
	from, end := dir.start(), dir.start()+dir.size()
	if cookie >= uint64(from) && cookie <= uint64(end) {
		from = int64(cookie)
	}
	continued := false
	return f.records(ctx, from, end, func(r record, next int64) (bool, error) {
		first := !continued
		continued = r.flags()&flagMore != 0
		if n := r.name(); !first || r.flags()&flagAssociated != 0 || len(n) == 1 && n[0] <= 1 {
			return true, nil
		}
		if continued {
			parts, err := f.parts(ctx, r)
			if err != nil {
				return false, err
			}
			last := parts[len(parts)-1]
			next = last.at + int64(len(last.raw))
		}
		x, err := f.extra(ctx, r)
		if err != nil || x.relocated {
			return true, err
		}
		kind := uint32(tree.TypeFile)
		switch {
		case r.flags()&flagDir != 0 || x.child != 0:
			kind = tree.TypeDir
		case x.mode != 0:
			kind = x.mode & tree.TypeMask
		}
		return fn(tree.Entry{Name: f.nameOf(r, x), ID: tree.ID(r.at), Type: kind, Cookie: uint64(next)}), nil
	})
}

// nameOf returns the Rock Ridge or Joliet name, else the bare one in lower case without its
// version.
func (f *fileSystem) nameOf(r record, x extra) []byte {
	n := r.name()
	switch {
	case len(x.name) > 0:
		return x.name
	case f.joliet:
		n = utf8Of(n)
	default:
		n = bytes.ToLower(n)
	}
	if i := bytes.LastIndexByte(n, ';'); i > 0 {
		n = n[:i]
	}
	if !f.joliet && len(n) > 1 {
		n = bytes.TrimSuffix(n, []byte("."))
	}
	return n
}

// utf8Of decodes big-endian UTF-16.
func utf8Of(b []byte) []byte {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.BigEndian.Uint16(b[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}

func (f *fileSystem) Readlink(ctx context.Context, id tree.ID) ([]byte, error) {
	_, x, err := f.entry(ctx, id)
	if err == nil && x.mode&tree.TypeMask != tree.TypeLink {
		err = tree.ErrNotLink
	}
	return x.target, err
}

func (f *fileSystem) ReadAt(ctx context.Context, id tree.ID, p []byte, off int64) (int, error) {
	r, x, err := f.entry(ctx, id)
	switch {
	case err != nil:
		return 0, err
	case r.flags()&flagDir != 0:
		return 0, tree.ErrIsDir
	case x.mode != 0 && x.mode&tree.TypeMask != tree.TypeFile:
		return 0, tree.ErrNotFile
	case x.packed:
		return 0, disk.Unsupported(name, "zisofs compression")
	case r.raw[26] != 0 || r.raw[27] != 0:
		return 0, disk.Unsupported(name, "interleaved files")
	case off < 0:
		return 0, errors.New("iso: read at a negative offset")
	}
	parts, err := f.parts(ctx, r)
	done := 0
	for _, part := range parts {
		if off < part.size() && done < len(p) && err == nil {
			n := int(min(int64(len(p)-done), part.size()-off))
			if !disk.Within(part.start()+off, int64(n), f.src.Size()) {
				return done, disk.Corrupt(name, fmt.Sprintf("record at %d", id), "the data at %d end after the disk", part.start())
			}
			err = f.src.ReadAt(ctx, p[done:done+n], part.start()+off)
			done, off = done+n, off+int64(n)
		}
		off -= part.size()
	}
	if err == nil && done < len(p) {
		err = io.EOF
	}
	return done, err
}

// shortTime is a time of 7 bytes: years since 1900 down to seconds, and the zone in quarters of an
// hour.
func shortTime(b []byte) tree.Time {
	if b[1] == 0 {
		return tree.Time{}
	}
	t := time.Date(1900+int(b[0]), time.Month(b[1]), int(b[2]), int(b[3]), int(b[4]), int(b[5]), 0, time.UTC)
	return tree.At(t.Unix()-int64(int8(b[6]))*900, 0)
}
