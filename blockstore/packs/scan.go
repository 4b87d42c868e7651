package packs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// found is a record that a scan met. Its bytes are valid until the scan goes on.
type found struct {
	head
	loc   location
	bytes []byte
}

// scan calls fn for every record from pos on whose header and lengths are correct. It skips
// everything else, such as holes and damage. It returns the end of the last record that fn took.
func scan(f file, pack uint32, pos int64, fn func(found) (taken bool, err error)) (end int64, err error) {
	w := window{f: f}
	end = pos
	for {
		b, err := w.at(pos)
		if err != nil || len(b) < recordHead {
			return end, err
		}
		h, loc, err := locate(b)
		if err != nil {
			pos += nextMagic(b)
			continue
		}
		loc.pack, loc.off = pack, pos
		taken, err := fn(found{h, loc, b[:h.length]})
		if err != nil {
			return end, err
		}
		if !taken { // it may only look like one
			pos += nextMagic(b)
			continue
		}
		pos += h.length
		end = pos
	}
}

// nextMagic returns the offset in b, after its first bytes, at which the next record may begin.
func nextMagic(b []byte) int64 {
	magic := binary.LittleEndian.AppendUint32(nil, recordMagic)
	for at := align; at+len(magic) <= len(b); {
		i := bytes.Index(b[at:], magic)
		if i < 0 {
			break
		}
		if at += i; at%align == 0 {
			return int64(at)
		}
		at = int(pad(int64(at)))
	}
	return max(align, pad(int64(len(b)-len(magic))))
}

// window reads a file from start to end in large pieces.
type window struct {
	f     file
	buf   []byte
	start int64 // of buf in the file
	ended bool
}

const windowSize = 1 << 20

// at returns the bytes from pos on, at least maxRecord of them unless the file ends. pos must never
// decrease.
func (w *window) at(pos int64) ([]byte, error) {
	skip := min(pos-w.start, int64(len(w.buf)))
	if int64(len(w.buf))-skip >= maxRecord || w.ended {
		return w.buf[skip:], nil
	}
	rest := append(make([]byte, 0, windowSize+maxRecord), w.buf[skip:]...)
	if len(rest) == 0 {
		w.start = pos
	} else {
		w.start += skip
	}
	n, err := w.f.ReadAt(rest[len(rest):cap(rest)], w.start+int64(len(rest)))
	w.buf = rest[:len(rest)+n]
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read at %#x: %w", w.start, err)
	}
	w.ended = err != nil
	return w.buf, nil
}
