package vmdk

import (
	"context"

	"github.com/imsfs/imsfs/formats"
)

// sparse is a sparse extent: grains found through a directory.
type sparse struct {
	file     file
	driver   *Driver
	header   header
	headerAt int64 // where it stands: 0, or in the footer
	dir      *directory
	grain    int64 // size, bytes
	size     int64 // of the extent, bytes
	holes    formats.Holes
}

// newSparse makes the extent of a verified header.
func newSparse(ctx context.Context, d *Driver, r *front, cacheBytes int64) (*sparse, error) {
	h := *r.header
	dir, err := openDirectory(ctx, r.file, &h, h.gdOffset, "grain table", cacheBytes)
	if err != nil {
		return nil, err
	}
	var holes formats.Holes
	if !h.compressed() {
		holes = formats.HolesOf(r.file.Source).IfAny()
	}
	return &sparse{
		holes: holes, file: r.file, driver: d, header: h, headerAt: r.headerAt, dir: dir,
		grain: int64(h.grainSize) * sector, size: int64(h.capacity) * sector,
	}, nil
}

func (s *sparse) state(entry int64) formats.State {
	switch {
	case entry == 0:
		return formats.Unallocated
	case entry == zeroGTE && s.header.flags&flagZeroGrain != 0:
		return formats.Zero
	}
	return formats.Data
}

// run is the number of grains, of the n from entry i on, that are in one state.
func (s *sparse) run(entries []byte, n int64) (formats.State, int64) {
	state := s.state(gte(entries, 0))
	for k := int64(1); k < n; k++ {
		if s.state(gte(entries, k)) != state {
			return state, k
		}
	}
	return state, n
}

// extent returns the run of one state at off, as far as the tables that come in one read go.
func (s *sparse) extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	e, at := formats.Extent{Off: off}, int64(0)
	loaded := int64(-1)
	for g, limit := off/s.grain, ceilDiv(off+n, s.grain); g < limit; {
		j := g / s.dir.perTable
		if e.Len > 0 && !s.dir.free(j, loaded) {
			break
		}
		entries, count, err := s.dir.from(ctx, g)
		if err != nil {
			return e, err
		}
		state, same := formats.Unallocated, count
		if entries != nil {
			state, same = s.run(entries, count)
			loaded = j
			if state == formats.Data && s.holes.Known() {
				same, at = s.together(entries, same), gte(entries, 0)*sector+off%s.grain
			}
		}
		if e.Len > 0 && state != e.State {
			break
		}
		g += same
		e.State, e.Len = state, min(off+n, g*s.grain)-off
		if same < count {
			break
		}
	}
	if e.State != formats.Data {
		return e, nil
	}
	e.Compressed = s.header.compressed()
	return s.holes.Refine(ctx, e, at)
}

// together is how many of the first most grains follow one another in the file.
func (s *sparse) together(entries []byte, most int64) int64 {
	count := int64(1)
	for count < most && gte(entries, count) == gte(entries, 0)+count*int64(s.header.grainSize) {
		count++
	}
	return count
}

// readAt reads grain tables one by one, and grains that are neighbours in the file at once.
func (s *sparse) readAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		g, in := off/s.grain, off%s.grain
		entries, count, err := s.dir.from(ctx, g)
		if err != nil {
			return err
		}
		count = min(count, ceilDiv(in+int64(len(p)), s.grain))
		state := formats.Unallocated
		if entries != nil {
			state, count = s.run(entries, count)
		}
		n := min(int64(len(p)), count*s.grain-in)
		switch {
		case state != formats.Data:
			clear(p[:n])
		case s.header.compressed():
			n, err = s.readCompressed(ctx, p[:n], g, in, entries)
		default:
			n, err = s.readPlain(ctx, p[:n], g, in, entries)
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// readPlain fills p from the grains from g on that are neighbours in the file, and returns how much
// that was.
func (s *sparse) readPlain(ctx context.Context, p []byte, g, in int64, entries []byte) (int64, error) {
	start, count := gte(entries, 0), s.together(entries, ceilDiv(in+int64(len(p)), s.grain))
	n := min(int64(len(p)), count*s.grain-in)
	if problem := s.misplaced(start, ceilDiv(in+n, sector)); problem != "" {
		return 0, s.file.corrupt(start*sector, "grain %d: %s", g, problem)
	}
	return n, s.file.read(ctx, p[:n], start*sector+in, "grain")
}

// length is the number of bytes of grain g that are of the disk.
func (s *sparse) length(g int64) int64 { return min(s.grain, s.size-g*s.grain) }

// misplaced says why n sectors at start cannot be a grain's, or "".
func (s *sparse) misplaced(start, n int64) string {
	h := &s.header
	switch {
	case start < 1:
		return "it lies over the header"
	case start < int64(h.descriptorOffset+h.descriptorSize) && start+n > int64(h.descriptorOffset) && h.descriptorOffset != 0:
		return "it lies over the descriptor"
	case (start+n)*sector > s.file.Size():
		return "it must lie within the file"
	}
	return ""
}
