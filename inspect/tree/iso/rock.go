package iso

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

// extra are the facts of the Rock Ridge entries of a record.
type extra struct {
	mode, links, uid, gid      uint32 // a mode of 0 is not recorded
	major, minor               uint32
	name, target               []byte
	atime, mtime, ctime, btime tree.Time
	child                      int64 // block of a relocated directory
	relocated, packed          bool
	joined                     bool // the last part of target goes on in the next
}

const maxContinuations = 32

// extra reads the entries of a record and their continuations.
func (f *fileSystem) extra(ctx context.Context, r record) (x extra, err error) {
	if !f.rock {
		return x, nil
	}
	area := r.system(f.skip)
	if r.at == int64(f.root) {
		area = r.system(0)
	}
	for range maxContinuations {
		var at, n int64
		for len(area) >= 4 && int(area[2]) >= 4 && int(area[2]) <= len(area) {
			e := area[:area[2]]
			area = area[area[2]:]
			if string(e[:2]) == "CE" && len(e) >= 28 {
				at, n = int64(le.Uint32(e[4:]))*f.block+int64(le.Uint32(e[12:])), int64(le.Uint32(e[20:]))
			} else if string(e[:2]) == "ST" {
				break
			} else {
				x.take(e)
			}
		}
		if len(x.target) > tree.MaxTarget || len(x.name) > tree.MaxName {
			return x, disk.Corrupt(name, fmt.Sprintf("record at %d", r.at), "a name of %d, a target of %d bytes", len(x.name), len(x.target))
		}
		if n == 0 {
			return x, nil
		}
		if n > sector || !disk.Within(at, n, f.src.Size()) {
			return x, disk.Corrupt(name, fmt.Sprintf("record at %d", r.at), "a continuation at [%d, +%d)", at, n)
		}
		area = make([]byte, n)
		if err := f.src.ReadMeta(ctx, area, at); err != nil {
			return x, err
		}
	}
	return x, disk.Corrupt(name, fmt.Sprintf("record at %d", r.at), "more than %d continuations", maxContinuations)
}

// take reads one entry. Entries that are too short say nothing.
func (x *extra) take(e []byte) {
	switch kind := string(e[:2]); {
	case kind == "PX" && len(e) >= 36:
		x.mode, x.links, x.uid, x.gid = le.Uint32(e[4:]), le.Uint32(e[12:]), le.Uint32(e[20:]), le.Uint32(e[28:])
	case kind == "PN" && len(e) >= 20:
		x.major, x.minor = le.Uint32(e[4:]), le.Uint32(e[12:])
		if x.major == 0 { // some programs write both into the second word
			x.major, x.minor = x.minor>>8, x.minor&0xFF
		}
	case kind == "NM" && len(e) >= 5 && e[4]&6 == 0:
		x.name = append(x.name, e[5:]...)
	case kind == "SL" && len(e) >= 5:
		x.link(e[5:])
	case kind == "TF" && len(e) >= 5:
		x.times(e[4], e[5:])
	case kind == "CL" && len(e) >= 12:
		x.child = int64(le.Uint32(e[4:]))
	case kind == "RE":
		x.relocated = true
	case kind == "ZF":
		x.packed = true
	}
}

// link appends the components of a target.
func (x *extra) link(b []byte) {
	for len(b) >= 2 && int(b[1])+2 <= len(b) {
		if n := len(x.target); n > 0 && !x.joined && x.target[n-1] != '/' {
			x.target = append(x.target, '/')
		}
		switch {
		case b[0]&2 != 0:
			x.target = append(x.target, '.')
		case b[0]&4 != 0:
			x.target = append(x.target, ".."...)
		case b[0]&8 != 0:
			x.target = append(x.target, '/')
		default:
			x.target = append(x.target, b[2:2+b[1]]...)
		}
		x.joined = b[0]&1 != 0
		b = b[2+int(b[1]):]
	}
}

// times reads those of flags: creation, modification, access, change. Long ones have 17 digits and
// a zone.
func (x *extra) times(flags byte, b []byte) {
	size := 7
	if flags&0x80 != 0 {
		size = 17
	}
	for i, to := range []*tree.Time{&x.btime, &x.mtime, &x.atime, &x.ctime} {
		if flags>>i&1 == 0 {
			continue
		}
		if len(b) < size {
			return
		}
		if *to = shortTime(b); size == 17 {
			*to = longTime(b)
		}
		b = b[size:]
	}
}

func longTime(b []byte) tree.Time {
	t, err := time.Parse("20060102150405", string(b[:14]))
	hundredths, err2 := strconv.ParseUint(string(b[14:16]), 10, 8)
	if err != nil || err2 != nil {
		return tree.Time{}
	}
	return tree.At(t.Unix()-int64(int8(b[16]))*900, uint32(hundredths)*1e7)
}
