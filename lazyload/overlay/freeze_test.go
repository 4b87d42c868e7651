package overlay

import (
	"bytes"
	"errors"
	"syscall"
	"testing"
)

// hooked is a file that tells of its syncs before they are made: of the first, the second ...
type hooked struct {
	*memory
	syncs int
	sync  func(n int)
}

func (h *hooked) Sync() error {
	h.syncs++
	h.sync(h.syncs)
	return h.memory.Sync()
}

// freezing is a disk whose topmost delta tells of the syncs of its data.
func freezing(t *testing.T, sync func(d *Disk, n int)) (*Disk, Files, func() Files) {
	t.Helper()
	const size = 1 << 20
	made := func() Files {
		f := newFiles()
		must(t, Create(f, size, size))
		return f
	}
	f := made()
	var d *Disk
	h := &hooked{f.Data.(*memory), 0, func(n int) { sync(d, n) }}
	d, err := Open([]Files{{Name: f.Name, Data: h, Bitmap: f.Bitmap, Sums: f.Sums, Boot: f.Boot}}, nil, false)
	must(t, err)
	return d, f, made
}

func put(t *testing.T, d *Disk, unit int64, text string) {
	t.Helper()
	_, err := d.WriteAt(t.Context(), bytes.Repeat([]byte(text), Unit)[:Unit], unit*Unit)
	must(t, err)
}

// TestFreezeHoldsNobodyUp: while what was frozen is made durable, others write.
func TestFreezeHoldsNobodyUp(t *testing.T) {
	entered, leave := make(chan int), make(chan struct{})
	d, _, made := freezing(t, func(_ *Disk, n int) {
		entered <- n
		<-leave
	})
	put(t, d, 0, "before")
	ended := make(chan error)
	var frozen *Frozen
	above := made()
	go func() {
		var err error
		frozen, err = d.Freeze(above)
		ended <- err
	}()
	<-entered // the flush before
	put(t, d, 1, "beside")
	leave <- struct{}{}
	<-entered // the flush behind
	put(t, d, 2, "behind")
	leave <- struct{}{}
	must(t, <-ended)
	if at, n := frozen.Changed(0); at != 0 || n != 2*Unit {
		t.Errorf("frozen are %d bytes at %d, want the first two units", n, at)
	}
	if n := d.top().units.Load(); n != 1 {
		t.Errorf("the new delta has %d units, want one", n)
	}
}

// TestFreezeThatIsNotDurable: when what was frozen cannot be made durable, the disk has it all the same, and the next flush makes it so.
func TestFreezeThatIsNotDurable(t *testing.T) {
	var below Files
	d, f, made := freezing(t, func(d *Disk, n int) {
		switch n {
		case 1:
			put(t, d, 1, "beside")
		case 2:
			below.Bitmap.(*memory).room = 0
		}
	})
	below = f
	put(t, d, 0, "before")
	above := made()
	frozen, err := d.Freeze(above)
	if frozen == nil || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("%v, %v: want something frozen, and that the disk is full", frozen, err)
	}
	put(t, d, 2, "behind")
	if err := d.Flush(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a flush when the disk is still full: %v", err)
	}
	if again, err := d.Freeze(made()); again != nil || err == nil {
		t.Error("frozen again, and what was frozen before is not durable")
	}
	below.Bitmap.(*memory).room = -1
	must(t, d.Flush())
	r := seed(t)
	var left []Files
	for _, f := range []Files{above, below} {
		left = append(left, cutFiles(f, r))
	}
	d, err = Open(left, nil, false)
	must(t, err)
	got := make([]byte, 3*Unit)
	_, err = d.ReadAt(t.Context(), got, 0)
	must(t, err)
	for i, text := range []string{"before", "beside", "behind"} {
		if !bytes.HasPrefix(got[i*Unit:], []byte(text)) {
			t.Errorf("unit %d begins with %q, want %q", i, got[i*Unit:][:6], text)
		}
	}
}
