package formattest

import (
	"bytes"
	"fmt"
	"slices"
)

// Disk is the flat model of what an image must read as: zeros but for its parts. It costs memory
// only for the parts, so a model may be of any size.
type Disk struct {
	Bytes int64  // the virtual size
	Parts []Part // ascending, not overlapping
}

// Part is a piece of a disk that is not all zeros.
type Part struct {
	Off  int64
	Data []byte
}

// Flat is the model that is just these bytes.
func Flat(b []byte) Disk { return Disk{int64(len(b)), []Part{{0, b}}} }

// End is the offset of the first byte after the part.
func (p Part) End() int64 { return p.Off + int64(len(p.Data)) }

// Fill sets p to the model's bytes at off.
func (d Disk) Fill(p []byte, off int64) {
	clear(p)
	end := off + int64(len(p))
	for _, part := range d.Parts {
		from, to := max(off, part.Off), min(end, part.End())
		if from < to {
			copy(p[from-off:to-off], part.Data[from-part.Off:])
		}
	}
}

// diff says in what p differs from the model's bytes at off, or returns "".
func (d Disk) diff(p []byte, off int64) string {
	want := make([]byte, len(p))
	d.Fill(want, off)
	if bytes.Equal(p, want) {
		return ""
	}
	i := 0
	for p[i] == want[i] {
		i++
	}
	wrong := 0
	for j := range p {
		if p[j] != want[j] {
			wrong++
		}
	}
	return fmt.Sprintf("[%d, +%d): %d bytes differ, the first at %d: %#02x, want %#02x", off, len(p), wrong, off+int64(i), p[i], want[i])
}

// zero reports whether the model has only zeros in [off, off+n), without making them.
func (d Disk) zero(off, n int64) bool {
	zeros := make([]byte, 64<<10)
	for _, part := range d.Parts {
		from, to := max(off, part.Off), min(off+n, part.End())
		for from < to {
			n := min(to-from, int64(len(zeros)))
			if !bytes.Equal(part.Data[from-part.Off:from-part.Off+n], zeros[:n]) {
				return false
			}
			from += n
		}
	}
	return true
}

// edges are the offsets where something begins or ends: parts, clusters around them, the disk
// itself.
func (d Disk) edges(cluster int64) []int64 {
	at := []int64{0, d.Bytes}
	for _, part := range d.Parts {
		for _, off := range []int64{part.Off, part.End()} {
			at = append(at, off, off/cluster*cluster, min(d.Bytes, (off/cluster+1)*cluster))
		}
	}
	slices.Sort(at)
	return slices.Compact(at)
}
