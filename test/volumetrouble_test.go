package test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestVolumeDamaged: with a damaged page of the bitmap, that page's range is unreadable, the rest
// can be read, and nothing can be written.
func TestVolumeDamaged(t *testing.T) {
	const pageSpan, page, slots = 63 * mib, 4096, 8192 // docs/overlay.md
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

	damaged := 0
	files, err := filepath.Glob(filepath.Join(p.store, "volumes", "*"))
	must(t, err)
	for _, name := range files {
		b, err := os.OpenFile(name, os.O_RDWR, 0)
		must(t, err)
		defer b.Close()
		head := make([]byte, 16)
		_, err = b.ReadAt(head, 0)
		if must(t, err); string(head[4:]) != "imsfs delta\n" {
			continue
		}
		for slot := range int64(2) {
			at := slots + slots + slot*page
			_, err := b.ReadAt(head, at)
			if must(t, err); binary.LittleEndian.Uint64(head[8:]) == 1 {
				_, err = b.WriteAt([]byte{0x55}, at+1000)
				must(t, err)
				damaged++
			}
		}
	}
	if damaged == 0 {
		t.Fatal("no slot of the page was found")
	}

	d = p.serve(t)
	wantWords(t, "status before the first open", read(t, p.volume("one", "status")), "state error\n", "\nerror ", "page 1", "checksum")
	d.log.expect("a volume is damaged")
	d.log.expect("reading the disk")
	f, err = os.Open(p.volume("one", "disk"))
	must(t, err)
	defer f.Close()
	buf := make([]byte, 6)
	for _, i := range []int64{0, 2} {
		_, err := f.ReadAt(buf, i*pageSpan)
		if want := fmt.Sprintf("page %d", i); err != nil || string(buf) != want {
			t.Errorf("whole page %d reads %q, %v", i, buf, err)
		}
	}
	if _, err := f.ReadAt(buf, pageSpan); !errors.Is(err, unix.EIO) {
		t.Errorf("the damaged page reads %q, %v, want EIO", buf, err)
	}
	wantWords(t, "status", read(t, p.volume("one", "status")), "state error\n", "\nerror ", "page 1", "checksum")
	if g, err := os.OpenFile(p.volume("one", "disk"), os.O_RDWR, 0); !errors.Is(err, unix.EROFS) {
		g.Close()
		t.Errorf("opening it for writing: %v, want EROFS", err)
	}
	if err := d.command("volumes/one", "commit next"); err == nil {
		t.Error("a damaged volume is committed")
	}
	must(t, f.Close())
	d.run(t, "volumes/one", "delete")
}

// TestVolumeOnFullDisk: a write without room fails with ENOSPC, and flushed bytes stay.
func TestVolumeOnFullDisk(t *testing.T) {
	p := newPlace(t)
	small, at := p.file("small.img"), p.file("small")
	mustRun(t, "truncate", "-s", "96M", small)
	mustRun(t, "mkfs.ext4", "-q", "-m", "0", small)
	mustRun(t, "mkdir", at)
	mustRun(t, "mount", "-o", "loop", small, at)
	t.Cleanup(func() { mustRun(t, "umount", at) })
	p.store = filepath.Join(at, "store")
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
