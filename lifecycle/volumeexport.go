package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/overlay"
)

// export is the verb: FORMAT DEST [KEY=VALUE ...]. It writes what the disk has at this moment, also while somebody writes to it.
func (v *Volume) export(_ context.Context, words []string) error {
	r := v.r
	if err := r.idle(r.jobAt(&v.job)); err != nil {
		return err
	}
	words, salvage, err := takeSalvage(words)
	if err != nil {
		return err
	}
	e := &export{r: r, rec: v.record().committed(), attrs: volumeAttrs(v), digest: func() string { return "" }}
	e.rec.Size = v.Size()
	if err := e.prepare(words); err != nil {
		return err
	}
	err = r.launch(&v.job, "export", func(ctx context.Context, j *job) error {
		defer e.dst.Discard()
		return v.ended("export", v.exportAs(ctx, j, e, salvage))
	})
	if err != nil {
		e.dst.Discard()
	}
	return err
}

// takeSalvage takes salvage=yes|no out of the words.
func takeSalvage(words []string) (others []string, salvage bool, err error) {
	for _, w := range words {
		switch w {
		case "salvage=yes":
			salvage = true
		case "salvage=no":
		default:
			others = append(others, w)
		}
	}
	if len(others) < 2 {
		return nil, false, refuse(ErrUsage, "a format and a destination are wanted")
	}
	return others, salvage, nil
}

func (v *Volume) exportAs(ctx context.Context, j *job, e *export, salvage bool) (err error) {
	h, err := v.Open(ctx, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	disk := &still{source: h.Disk, info: formats.Info{Format: "raw", Size: e.rec.Size, ClusterSize: 1, Allocated: formats.Unknown}, salvage: salvage}
	switch damage := h.Damage(); {
	case damage != nil && !salvage:
		return fmt.Errorf("%w (salvage=yes writes zeros for what cannot be read)", damage)
	case damage != nil: // nobody can write to it
	default:
		if err := v.roomForDelta(h.Disk); err != nil {
			return err
		}
		if disk.source, err = v.freeze(h.Disk); err != nil {
			return err
		}
		defer v.tidy(h.Disk)
	}
	if err := e.run(ctx, j, disk); err != nil {
		return err
	}
	if n, bytes := disk.lost(); n > 0 {
		v.r.cfg.Log.Warn("exported what could be read", append(e.attrs, "ranges", n, "bytes", bytes)...)
		return v.noted(fmt.Errorf("%d ranges of the disk, together %d bytes, could not be read and are zeros in %s, the first at %d: %w",
			n, bytes, e.dest, disk.ranges[0].Off, disk.why))
	}
	return nil
}

// noted leaves a sentence for who looks for one, and is no failure.
func (v *Volume) noted(what error) error {
	_ = v.ended("export", what)
	return nil
}

// standing is a volume's disk that stands still.
type standing interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	Extent(ctx context.Context, off, n int64) (formats.Extent, error)
}

// still is a volume's disk as an export sees it. With salvage, what cannot be read is zeros, and noted.
type still struct {
	source  standing
	info    formats.Info
	salvage bool

	mu     sync.Mutex       // guards the following
	ranges []formats.Extent // that could not be read
	why    error            // of the first that was met
}

// Info is the formats.Image method.
func (s *still) Info() formats.Info { return s.info }

// Extent is the formats.Image method.
func (s *still) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	e, err := s.source.Extent(ctx, off, n)
	if err != nil && s.salvage && ctx.Err() == nil { // a read will tell
		return formats.Extent{Off: off, Len: n, State: formats.Data}, nil
	}
	return e, err
}

// ReadAt is the formats.Image method.
func (s *still) ReadAt(ctx context.Context, p []byte, off int64) error {
	_, err := s.source.ReadAt(ctx, p, off)
	if err == nil || !s.salvage || ctx.Err() != nil {
		return err
	}
	for len(p) > 0 {
		part := p[:min(overlay.Unit-off%overlay.Unit, int64(len(p)))]
		_, err := s.source.ReadAt(ctx, part, off)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			clear(part)
			s.lose(off, int64(len(part)), err)
		}
		off, p = off+int64(len(part)), p[len(part):]
	}
	return nil
}

func (s *still) lose(off, n int64, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ranges = append(s.ranges, formats.Extent{Off: off, Len: n})
	if s.why == nil {
		s.why = why
	}
}

// lost counts the ranges that could not be read, those that touch as one, and their bytes.
func (s *still) lost() (ranges int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(s.ranges, func(a, b formats.Extent) int { return int(min(max(a.Off-b.Off, -1), 1)) })
	end := int64(-1)
	for _, e := range s.ranges {
		if e.Off > end {
			ranges++
		}
		bytes += max(e.End()-max(e.Off, end), 0)
		end = max(end, e.End())
	}
	return ranges, bytes
}
