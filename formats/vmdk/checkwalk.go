package vmdk

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/imsfs/imsfs/formats"
)

const (
	// maxClaims bounds the claims in memory, 32 MiB. A file with more is checked in several passes,
	// each over all tables and for the claims of one stretch of the file.
	maxClaims = 2 << 20
	// A bucket is the unit of stretches: 2^bucketShift sectors.
	bucketShift = 16
	buckets     = 1 << (32 - bucketShift)
)

// bucket is that of a sector. Only a footer can be where 32 bits do not reach.
func bucket(start int64) int64 { return min(start>>bucketShift, buckets-1) }

// passes counts the claims of each bucket and then walks stretch by stretch.
func (k *sparseCheck) passes(ctx context.Context) error {
	counts := make([]int64, buckets)
	if err := k.claims(ctx, func(c claim) { counts[bucket(c.start)]++ }); err != nil {
		return err
	}
	k.first = false
	for from := int64(0); from < buckets; {
		n, to := counts[from], from+1
		for to < buckets && n+counts[to] <= k.most {
			n += counts[to]
			to++
		}
		if n > 0 {
			if err := k.stretch(ctx, from, to, n); err != nil {
				return err
			}
		}
		from = to
	}
	end := ceilDiv(k.s.file.Size(), sector)
	if k.last.kind() == aGrain && k.s.header.compressed() {
		// qemu makes room for a whole grain before it writes a compressed one.
		k.end = max(k.end, min(end, k.last.start+int64(k.s.header.grainSize)))
	}
	if err := k.endOfStream(ctx, end); err != nil {
		return err
	}
	if err := k.gap(ctx, end, claim{}); err != nil {
		return err
	}
	k.held.Report(k.out)
	return nil
}

// endOfStream accounts for the marker that ends a stream without a footer, a sector of zeros at the
// file's end.
func (k *sparseCheck) endOfStream(ctx context.Context, end int64) error {
	if k.s.header.flags&flagMarkers == 0 || k.s.headerAt > 0 || k.s.file.Size() != end*sector || k.end >= end {
		return nil
	}
	b := make([]byte, sector)
	if err := k.s.file.read(ctx, b, (end-1)*sector, "last sector"); err != nil {
		return err
	}
	if !formats.IsZero(b) {
		return nil
	}
	if err := k.gap(ctx, end-1, claim{}); err != nil {
		return err
	}
	k.end = end
	return nil
}

// stretch walks the n claims of the buckets [from, to).
func (k *sparseCheck) stretch(ctx context.Context, from, to, n int64) error {
	all := make([]claim, 0, min(n, k.most))
	err := k.claims(ctx, func(c claim) {
		// Only if one place is claimed over and over are there more: enough of them are looked at.
		if b := bucket(c.start); b >= from && b < to && int64(len(all)) < k.most {
			all = append(all, c)
		}
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b claim) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.id, b.id)) })
	for i, c := range all {
		next := ceilDiv(k.s.file.Size(), sector)
		if i+1 < len(all) {
			next = all[i+1].start
		}
		if err := k.visit(ctx, c, next); err != nil {
			return err
		}
	}
	return nil
}

// visit checks one claim. next is the sector at which the next claim starts.
func (k *sparseCheck) visit(ctx context.Context, c claim, next int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.start < k.end {
		// Not decoded: a small file with many entries for one grain would take for ever.
		k.held.Release(c.start*sector, k.out)
		k.damage(c.start*sector, "%v overlaps %v, which ends at %#x", c, k.last, k.end*sector)
		if end := c.start + k.room(c); end > k.end && !(c.kind() == aGrain && k.s.header.compressed()) {
			k.end, k.last = end, c
		}
		return nil
	}
	if err := k.gap(ctx, c.start, c); err != nil {
		return err
	}
	k.held.Release(c.start*sector+1, k.out)
	k.last, k.end = c, c.start+k.room(c)
	if c.kind() == aGrain && k.s.header.compressed() {
		return k.decode(ctx, c, next)
	}
	return nil
}

// room is the number of sectors that a claim takes, or, of compressed grains, at least one.
func (k *sparseCheck) room(c claim) int64 {
	h := &k.s.header
	switch c.kind() {
	case aDescriptor:
		return int64(h.descriptorSize)
	case aDirectory, aRedundantDirectory:
		return int64(ceilDiv(h.tables()*gteSize, sector))
	case aTable, aRedundantTable:
		return k.s.dir.tableSectors()
	case aFooter:
		return 2 // with the end-of-stream marker
	case aGrain:
		if !h.compressed() {
			return min(int64(h.grainSize), ceilDiv(k.s.file.Size(), sector)-c.start)
		}
	}
	return 1
}

// decode decodes a grain to find its end. If it cannot, the grain takes all the room up to the next
// claim.
func (k *sparseCheck) decode(ctx context.Context, c claim, next int64) error {
	s, g := k.s, c.number()
	stored := s.driver.buffers.Get(min(max(next-c.start, 1)*sector, s.grain+slack, s.file.Size()-c.start*sector))
	defer s.driver.buffers.Put(stored)
	if err := s.file.read(ctx, *stored, c.start*sector, "grain"); err != nil {
		return err
	}
	size, err := s.payload(g, c.start, *stored)
	if err != nil {
		k.end = max(k.end, next)
		return k.damaged(err)
	}
	k.end = c.start + ceilDiv(grainMarkerSize+size, sector)
	if err := s.grainInto(ctx, k.block[:s.length(g)], 0, g, c.start, *stored); err != nil {
		return k.damaged(err)
	}
	return nil
}

// gap checks the sectors between the claims so far and the next one: they are a marker, or a leak.
// Those before overHead are room for metadata.
func (k *sparseCheck) gap(ctx context.Context, to int64, next claim) error {
	from := max(k.end, min(int64(k.s.header.overHead), to))
	if from >= to {
		return nil
	}
	kind, ok := markerOf(next)
	if ok && to-from == 1 && (k.s.header.flags&flagMarkers != 0 || k.s.headerAt > 0) {
		return k.marker(ctx, from, marker{sectors: uint64(k.marked(next)), kind: kind}, next)
	}
	if k.s.header.cowd {
		return nil // ESX sets space aside in larger pieces
	}
	end := min(to*sector, k.s.file.Size())
	k.held.Release(from*sector, k.out)
	k.out(formats.Problem{Off: from * sector, Text: fmt.Sprintf("%s%d bytes belong to nothing", k.prefix(), end-from*sector), Leak: true})
	return nil
}

func (k *sparseCheck) marker(ctx context.Context, at int64, want marker, next claim) error {
	b := make([]byte, markerSize)
	if err := k.s.file.read(ctx, b, at*sector, "marker"); err != nil {
		return err
	}
	if m := decodeMarker(b); m != want {
		k.held.Release(at*sector, k.out)
		k.damage(at*sector, "marker before %v: %v, must be %v", next, m, want)
	}
	return nil
}

// markerOf returns the type of the marker that may precede a claim.
func markerOf(c claim) (kind uint32, ok bool) {
	switch c.kind() {
	case aTable:
		return markerTable, true
	case aDirectory:
		return markerDirectory, true
	case aFooter:
		return markerFooter, true
	}
	return 0, false
}

// marked returns the number of sectors in a claim's marker. The footer's does not count the
// end-of-stream marker.
func (k *sparseCheck) marked(c claim) int64 {
	if c.kind() == aFooter {
		return 1
	}
	return k.room(c)
}

func (k *sparseCheck) damage(off int64, format string, args ...any) {
	k.out(formats.Problem{Off: off, Text: k.prefix() + fmt.Sprintf(format, args...)})
}
