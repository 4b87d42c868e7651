package lazyload

import (
	"context"
	"errors"
	"sync"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/cache"
)

// View is the answer to one read. Its slices, in order, are the bytes that were asked for; they are shared with other
// readers, must not be written to, and may not be touched after Release.
type View struct {
	Slices [][]byte
	Len    int // bytes in all slices: less than asked for only at the disk's end
	// Fresh is a cluster that this very read made the disk decode, or nil: its other bytes have not been asked for
	// yet, and whoever can keep them for the neighbours' reads may. It goes with the view. As that takes time, in
	// which its memory cannot be used for others, only a few are given away at once; a read that comes in between has none.
	Fresh *cache.Buffer
	// FreshOff is where Fresh lies in the disk.
	FreshOff int64

	held  []*cache.Buffer
	offer chan struct{} // where Fresh's token came from
}

// views are recycled so that a read of decoded data allocates nothing. A pool of spare parts is no state.
var views = sync.Pool{New: func() any { return new(View) }}

// zeros is what every range without data is a view of. It is never written to.
var zeros = make([]byte, 1<<20)

// View returns the disk's bytes at off, at most len(scratch) of them. Data that is not worth keeping is read into
// scratch, at its place; the view holds scratch until it is released. Behind the disk's end a view is empty.
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

// fillFromImage walks the extents of the len(scratch) bytes at off, a unit at a time where units are cached.
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
				if errors.Is(err, errOther) { // a neighbour is lost for good: what is asked for need not be
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

// cached tells whether an extent's units are worth keeping: those that must be decoded whole, and those that go on into the store.
func (d *Disk) cached(e formats.Extent) bool { return e.Compressed || d.stored != nil }

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

func (v *View) zero(n int64) {
	for n > 0 {
		s := zeros[:min(n, int64(len(zeros)))]
		v.Slices = append(v.Slices, s)
		n -= int64(len(s))
	}
}

// Release gives the view's memory back. It must be called exactly once.
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
