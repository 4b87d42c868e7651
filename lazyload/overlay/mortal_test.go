package overlay

import (
	"errors"
	"testing"
)

// mortal is files that fail all at once, when so many changes of them were made.
type mortal struct{ left int }

var errDead = errors.New("killed")

func (m *mortal) change() error {
	if m.left--; m.left < 0 {
		return errDead
	}
	return nil
}

// limb is one of them.
type limb struct {
	*memory
	of *mortal
}

func (l limb) WriteAt(p []byte, off int64) (int, error) {
	if err := l.of.change(); err != nil {
		return 0, err
	}
	return l.memory.WriteAt(p, off)
}

func (l limb) Truncate(size int64) error {
	return errors.Join(l.of.change(), l.alive(func() error { return l.memory.Truncate(size) }))
}

func (l limb) Punch(off, n int64) error {
	return errors.Join(l.of.change(), l.alive(func() error { return l.memory.Punch(off, n) }))
}

func (l limb) Sync() error { return errors.Join(l.of.change(), l.alive(l.memory.Sync)) }

func (l limb) alive(do func() error) error {
	if l.of.left < 0 {
		return nil
	}
	return do()
}

// TestResizeIsCut cuts the power at each change that a resize makes of a file: the disk has the old size or the new one, and all of its bytes.
func TestResizeIsCut(t *testing.T) {
	const size = 200<<10 + 1024 // the end cuts a unit
	r := seed(t)
	for _, to := range []int64{700 << 10, size + 512, 100 << 10} {
		for at := 0; ; at++ {
			x := newExerciser(t, r, nil, size, size, newFiles)
			random(r, x.want)
			_, err := x.disk.WriteAt(t.Context(), x.want, 0)
			must(t, err)
			must(t, x.disk.Close())
			err = x.cut(at, func() error { return x.disk.Resize(to) })
			if x.open(); x.disk.Size() != size {
				x.want = append(x.want, make([]byte, max(to-size, 0))...)[:to]
			}
			x.compare(0, int64(len(x.want)))
			if err == nil {
				break
			}
		}
	}
}

// cut does something with files that fail at a change, and cuts the power then. The disk is to be opened again.
func (x *exerciser) cut(at int, do func() error) error {
	x.t.Helper()
	m := &mortal{1 << 30} // the opening is none of it
	whole := x.files
	x.files = nil
	for _, f := range whole {
		x.files = append(x.files, Files{Name: f.Name, Data: limb{f.Data.(*memory), m}, Bitmap: limb{f.Bitmap.(*memory), m}, Sums: f.Sums, Boot: f.Boot})
	}
	x.open()
	m.left = at
	err := do()
	if err != nil && !errors.Is(err, errDead) {
		x.t.Fatal(err)
	}
	x.files = nil
	for _, f := range whole {
		x.files = append(x.files, cutFiles(f, x.r))
	}
	return err
}
