package lazyload

import (
	"context"
	"errors"
	"sync"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/cache"
)

// View is the answer to one read: its slices, in order, are the requested bytes. Other readers
// share them, so they must not be written to, nor used after Release.
type View struct {
	Slices [][]byte
	Len    int // bytes in all slices: fewer than requested only at the disk's end
	// Fresh is a unit that this read loaded, or nil. A caller that can keep the unit's other bytes
	// for later reads may do so until Release. For example, fs pushes them into the page cache.
	// Meanwhile the memory is not free for others, so the number of views with a Fresh unit is
	// limited, and a view may have none although it loaded a unit.
	Fresh *cache.Buffer
	// FreshOff is the offset of Fresh in the disk.
	FreshOff int64

	held  []*cache.Buffer
	offer chan struct{} // gets Fresh's token back
}

// views are recycled, so that a read of decoded data allocates nothing.
var views = sync.Pool{New: func() any { return new(View) }}

// zeros backs all ranges without data. It is never written to.
var zeros = make([]byte, 1<<20)

// View returns the disk's bytes at off, at most len(scratch) of them. Data that is not cached is
// read into scratch, at its place in the request, so scratch must not be reused before Release.
// Past the disk's end the view is empty.
func (d *Disk) View(ctx context.Context, scratch []byte, off int64) (*View, error) {
	v := views.Get().(*View)
	n := int64(len(scratch))
	if off < 0 || off >= d.size {
		n = 0
	}
	n = min(n, d.size-off)
	if n <= 0 {
		return v, nil
	}
	d.readAhead(off, n)
	if err := d.fill(ctx, v, scratch, off, off+n); err != nil {
		v.Release()
		return nil, err
	}
	v.Len = int(n)
	return v, nil
}

func (d *Disk) fill(ctx context.Context, v *View, scratch []byte, off, end int64) error {
	if d.stored != nil {
		return d.fillStored(ctx, v, scratch, off, end)
	}
	return d.fillFromImage(ctx, v, scratch[:end-off], off)
}

// fillFromImage adds the len(scratch) bytes at off to v, extent by extent, and unit by unit where
// units are cached.
func (d *Disk) fillFromImage(ctx context.Context, v *View, scratch []byte, off int64) error {
	img, err := d.image.get(ctx)
	if err != nil {
		return err
	}
	for len(scratch) > 0 {
		e, err := img.Extent(ctx, off, int64(len(scratch)))
		if err != nil {
			return err
		}
		switch p := scratch[:e.Len]; {
		case e.State != formats.Data:
			v.zero(e.Len)
		case d.cached(e):
			for s := range pieces(off, e.Len, d.unit) {
				err := d.viewUnit(ctx, v, s)
				if errors.Is(err, errOther) { // another block of the unit is lost: read the requested part alone
					part := p[s.unit+s.skip-off:][:s.n]
					v.Slices = append(v.Slices, part)
					err = img.ReadAt(ctx, part, s.unit+s.skip)
				}
				if err != nil {
					return err
				}
			}
		default:
			if err := img.ReadAt(ctx, p, off); err != nil {
				return err
			}
			v.Slices = append(v.Slices, p)
		}
		off, scratch = e.End(), scratch[e.Len:]
	}
	return nil
}

// cached reports whether an extent's units are kept in the cache: compressed ones are decoded
// whole, and those of a stored disk are saved from there.
func (d *Disk) cached(e formats.Extent) bool { return e.Compressed || d.stored != nil }

// viewUnit adds one unit's part to v, and makes the unit v's Fresh if this call loaded it.
func (d *Disk) viewUnit(ctx context.Context, v *View, s piece) error {
	b, led, err := d.get(ctx, s.unit)
	if err != nil {
		return err
	}
	v.held = append(v.held, b)
	v.Slices = append(v.Slices, b.Bytes()[s.skip:s.skip+s.n])
	if led && v.Fresh == nil {
		select {
		case d.loader.offers <- struct{}{}:
			v.Fresh, v.FreshOff, v.offer = b, s.unit, d.loader.offers
		default:
		}
	}
	return nil
}

// zero adds n zeros to v.
func (v *View) zero(n int64) {
	for n > 0 {
		s := zeros[:min(n, int64(len(zeros)))]
		v.Slices = append(v.Slices, s)
		n -= int64(len(s))
	}
}

// Release frees the view's memory. It must be called exactly once.
func (v *View) Release() {
	for _, b := range v.held {
		b.Release()
	}
	if v.Fresh != nil {
		<-v.offer
	}
	clear(v.held)
	clear(v.Slices)
	*v = View{Slices: v.Slices[:0], held: v.held[:0]}
	views.Put(v)
}
