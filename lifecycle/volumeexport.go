package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/overlay"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/job"
)

// export is the verb. It writes the content of this moment, also while the disk is written to.
func (v *Volume) export(_ context.Context, args *command.Args) (plan, error) {
	e := &export{reg: v.reg, rec: v.record().Committed(), attrs: v.attrs(), digest: func() string { return "" }}
	salvage := args.Yes("salvage", false)
	return e.job(&v.jobs, args, func(ctx context.Context, j *job.Job) error { return v.exportAs(ctx, j, e, salvage) })
}

func (v *Volume) exportAs(ctx context.Context, j *job.Job, e *export, salvage bool) (err error) {
	h, err := v.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	disk := &frozenImage{source: h.Disk, info: formats.Info{Format: "raw", Size: e.rec.Size, ClusterSize: 1, Allocated: formats.Unknown}, salvage: salvage}
	switch damage := h.Damage(); {
	case damage != nil && !salvage:
		return fmt.Errorf("%w (salvage=yes writes zeros for what cannot be read)", damage)
	case damage != nil: // it cannot be written to
	default:
		if err := v.makeRoomForDelta(h.Disk); err != nil {
			return err
		}
		if disk.source, err = v.freeze(h.Disk); err != nil {
			return err
		}
		defer v.foldAfterJob(h.Disk)
	}
	if err := e.run(ctx, j, disk); err != nil {
		return err
	}
	if n, bytes := disk.unread(); n > 0 {
		v.reg.cfg.Log.Warn("exported what could be read", append(e.attrs, "ranges", n, "bytes", bytes)...)
		v.jobs.SetError(fmt.Errorf("export: %d ranges of the disk, together %d bytes, could not be read and are zeros in %s, the first at %d: %w",
			n, bytes, e.dest, disk.ranges[0].Off, disk.why))
	}
	return nil
}

// frozenDisk is a volume's disk at one moment.
type frozenDisk interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	Extent(ctx context.Context, off, n int64) (formats.Extent, error)
}

// frozenImage is a volume's disk as an export reads it. With salvage, a range that cannot be read
// is zeros, and noted.
type frozenImage struct {
	source  frozenDisk
	info    formats.Info
	salvage bool

	mu     sync.Mutex       // guards the following
	ranges []formats.Extent // that could not be read
	why    error            // of the first one
}

// Info says that the disk is raw.
func (s *frozenImage) Info() formats.Info { return s.info }

// Extent returns an extent of the deltas and the base.
func (s *frozenImage) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	e, err := s.source.Extent(ctx, off, n)
	if err != nil && s.salvage && ctx.Err() == nil { // reading finds out
		return formats.Extent{Off: off, Len: n, State: formats.Data}, nil
	}
	return e, err
}

// ReadAt reads all that can be read.
func (s *frozenImage) ReadAt(ctx context.Context, p []byte, off int64) error {
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
			s.noteUnread(off, int64(len(part)), err)
		}
		off, p = off+int64(len(part)), p[len(part):]
	}
	return nil
}

func (s *frozenImage) noteUnread(off, n int64, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ranges = append(s.ranges, formats.Extent{Off: off, Len: n})
	if s.why == nil {
		s.why = why
	}
}

// unread counts the ranges that could not be read, those that touch as one, and their bytes.
func (s *frozenImage) unread() (ranges int, bytes int64) {
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
