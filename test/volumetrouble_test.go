package test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	pageSpan  = 63 * mib // of a disk, that one page of the bitmap describes: docs/overlay.md
	pageSlot  = 4096     // bytes of one of a page's two slots
	pageSlots = 8192     // both; the first page's begin here, too
)

// TestVolumeDamaged: with a damaged page of the bitmap, that page's range is unreadable, and the
// volume can only be read.
func TestVolumeDamaged(t *testing.T) {
	p := newPlace(t)
	d := p.serve(t)
	d.run(t, "", "create one size="+strconv.Itoa(3*pageSpan))
	f, err := os.OpenFile(p.volume("one", "disk"), os.O_RDWR, 0)
	must(t, err)
	for i := range int64(3) {
		_, err = f.WriteAt([]byte(fmt.Sprintf("page %d", i)), i*pageSpan)
		must(t, err)
	}
	must(t, f.Close())
	d.stop(t)
	p.damagePage(t, 1)

	d = p.serve(t)
	d.log.expect("a volume is damaged")
	d.log.expect("reading the disk")
	damaged := func(t *testing.T) {
		t.Helper()
		wantWords(t, "status", read(t, p.volume("one", "status")), "state error\n", "\nerror ", "bitmap", "checksum")
	}
	f, err = os.Open(p.volume("one", "disk"))
	must(t, err)
	t.Run("the status reports it before the first read", damaged)
	buf := make([]byte, 6)
	t.Run("ranges of whole pages are read", func(t *testing.T) {
		for _, i := range []int64{0, 2} {
			_, err := f.ReadAt(buf, i*pageSpan)
			if want := fmt.Sprintf("page %d", i); err != nil || string(buf) != want {
				t.Errorf("page %d reads %q, %v", i, buf, err)
			}
		}
	})
	t.Run("the damaged page's range is an error", func(t *testing.T) {
		if _, err := f.ReadAt(buf, pageSpan); !errors.Is(err, unix.EIO) {
			t.Errorf("it reads %q, %v, want EIO", buf, err)
		}
		damaged(t)
	})
	t.Run("opening it for writing is refused", func(t *testing.T) {
		if g, err := os.OpenFile(p.volume("one", "disk"), os.O_RDWR, 0); !errors.Is(err, unix.EROFS) {
			g.Close()
			t.Errorf("%v, want EROFS", err)
		}
	})
	t.Run("a commit is refused", func(t *testing.T) { d.refused(t, "volumes/one", "commit next", unix.EBUSY) })
	must(t, f.Close())
	t.Run("it can be deleted", func(t *testing.T) { d.run(t, "volumes/one", "delete") })
}

// damagePage changes a byte in the used slots of a page of the only volume's bitmap.
func (p place) damagePage(t *testing.T, page uint64) {
	t.Helper()
	bitmaps, err := filepath.Glob(filepath.Join(p.store, "volumes", "*.bitmap"))
	must(t, err)
	damaged := 0
	for _, name := range bitmaps {
		must(t, os.Remove(strings.TrimSuffix(name, "bitmap")+"sums")) // it would mend the bitmap
		b, err := os.OpenFile(name, os.O_RDWR, 0)
		must(t, err)
		defer b.Close()
		for slot := range int64(2) {
			head := make([]byte, 16)
			at := pageSlots + int64(page)*pageSlots + slot*pageSlot
			_, err := b.ReadAt(head, at)
			if must(t, err); binary.LittleEndian.Uint64(head[8:]) == page { // zeros were never written
				_, err = b.WriteAt([]byte{0x55}, at+1000)
				must(t, err)
				damaged++
			}
		}
	}
	if damaged == 0 {
		t.Fatalf("no slot of page %d was found", page)
	}
}

// onSmallDisk puts the place's store on a file system of 96 MiB.
func (p *place) onSmallDisk(t *testing.T) {
	t.Helper()
	small, at := p.file("small.img"), p.file("small")
	mustRun(t, "truncate", "-s", "96M", small)
	mustRun(t, "mkfs.ext4", "-q", "-m", "0", small)
	mustRun(t, "mkdir", at)
	mustRun(t, "mount", "-o", "loop", small, at)
	t.Cleanup(func() { mustRun(t, "umount", at) })
	p.store = filepath.Join(at, "store")
}

// TestVolumeOnFullDisk: a write without room fails with ENOSPC, and flushed bytes stay.
func TestVolumeOnFullDisk(t *testing.T) {
	p := newPlace(t)
	p.onSmallDisk(t)
	d := p.serve(t, "--free-floor", "1MiB")
	d.run(t, "", "create one size="+strconv.Itoa(256*mib))
	f, err := os.OpenFile(p.volume("one", "disk"), os.O_RDWR, 0)
	must(t, err)
	piece := make([]byte, mib)
	want := func(i int64) { words(piece, uint64(i)<<32) }
	const flushed = 8
	for i := range int64(flushed) {
		want(i)
		_, err := f.WriteAt(piece, i*mib)
		must(t, err)
	}
	must(t, f.Sync())
	d.log.expect("writing the disk")
	d.log.allow("flushing the disk") // the last write may find no room for its bitmap
	d.log.allow("closing the disk")
	written := int64(flushed)
	for ; err == nil; written++ {
		want(written)
		_, err = f.WriteAt(piece, written*mib)
	}
	if !errors.Is(err, unix.ENOSPC) || written < 10 {
		t.Errorf("after %d MiB: %v, want ENOSPC", written, err)
	}
	same := func(when string) {
		t.Helper()
		got := make([]byte, mib)
		for i := range int64(flushed) {
			want(i)
			if _, err := f.ReadAt(got, i*mib); err != nil || firstDifference(got, piece) < mib {
				t.Errorf("%s: MiB %d has other bytes than those flushed, %v", when, i, err)
			}
		}
	}
	same("full")
	must(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, flushed*mib, 20*mib))
	want(100)
	_, err = f.WriteAt(piece, 100*mib)
	must(t, err) // there is room again
	must(t, f.Sync())
	must(t, f.Close())
	d.stop(t)

	d = p.serve(t, "--free-floor", "1MiB")
	f, err = os.Open(p.volume("one", "disk"))
	must(t, err)
	same("after a restart")
	got := make([]byte, mib)
	want(100)
	if _, err := f.ReadAt(got, 100*mib); err != nil || firstDifference(got, piece) < mib {
		t.Errorf("the bytes written when there was room again are not there, %v", err)
	}
	must(t, f.Close())
	d.stop(t)
}
