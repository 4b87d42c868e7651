package test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestConcurrentReaders: eight readers read random ranges, half of them with O_DIRECT, and compare
// with the model. The server's cache holds a fraction of the disk, so that clusters come and go.
func TestConcurrentReaders(t *testing.T) {
	for _, format := range written {
		t.Run(format, func(t *testing.T) {
			d := serve(t, "--cache-size", "8MiB")
			m := makeModel(t, d.file("disk.raw"), 32*mib+512, 8)
			d.register(t, "disk", m.as(t, format))
			var readers sync.WaitGroup
			for seed := range uint64(8) {
				readers.Go(func() { m.readRandomly(t, d.disk("disk"), seed, 300) })
			}
			readers.Wait()
		})
	}
}

// readRandomly reads n random ranges of a disk of the model. Readers with odd seeds use O_DIRECT.
func (m model) readRandomly(t *testing.T, disk string, seed uint64, n int) {
	flags := os.O_RDONLY
	if seed%2 == 1 {
		flags |= syscall.O_DIRECT
	}
	f, err := os.OpenFile(disk, flags, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	chance := rand.New(rand.NewPCG(seed, 1))
	buf, want := aligned(mib), make([]byte, mib)
	for range n {
		off, length := m.randomRange(chance, seed%2 == 1)
		if got, err := f.ReadAt(buf[:length], off); err != nil {
			t.Errorf("seed %d: read of %d bytes at %#x: %d, %v", seed, length, off, got, err)
			return
		}
		m.want(t, want[:length], off)
		if at := firstDifference(buf[:length], want[:length]); at < length {
			t.Errorf("seed %d: read of %d bytes at %#x differs at %#x: %x, want %x", seed, length, off, off+int64(at), buf[at], want[at])
			return
		}
	}
}

// randomRange returns a range within the model, mostly small and sometimes large.
func (m model) randomRange(chance *rand.Rand, sectors bool) (off int64, length int) {
	length = 1 + chance.IntN(8*kib)
	if chance.IntN(8) == 0 {
		length = 1 + chance.IntN(mib)
	}
	off = chance.Int64N(m.size - int64(length))
	if sectors {
		off, length = off&^511, max(length&^511, 512)
	}
	return off, length
}

// aligned returns memory that is aligned for O_DIRECT.
func aligned(n int) []byte {
	const page = 4096
	b := make([]byte, n+page)
	skip := -uintptr(unsafe.Pointer(&b[0])) & (page - 1)
	return b[skip : int(skip)+n]
}

// TestSecondReadIsTheKernels: bytes that were read once are read again without the server, also
// after the disk was opened again. The kernel may drop pages at any time, so one success in a few
// rounds is enough.
func TestSecondReadIsTheKernels(t *testing.T) {
	eachFormat(t, 4*mib, func(t *testing.T, d *daemon, m model) {
		for range 10 {
			if d.readsWithoutServer(t, m) {
				return
			}
		}
		t.Error("in none of 10 rounds the kernel had kept what it had just read")
	})
}

// readsWithoutServer reads the model's bytes, and then again while the server is stopped. It
// reports whether that works.
func (d *daemon) readsWithoutServer(t *testing.T, m model) bool {
	t.Helper()
	p, want := make([]byte, m.size), make([]byte, m.size)
	m.want(t, want, 0)
	if _, err := d.openDisk(t, "disk").ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	clear(p)
	again := d.openDisk(t, "disk")
	d.signal(t, unix.SIGSTOP)
	done := make(chan error, 1)
	go func() {
		_, err := again.ReadAt(p, 0)
		done <- err
	}()
	without := true
	select {
	case err := <-done:
		done <- err
	case <-time.After(2 * time.Second):
		without = false
	}
	d.signal(t, unix.SIGCONT)
	if err := <-done; err != nil || !bytes.Equal(p, want) {
		t.Errorf("the second read is another than the first (%v)", err)
	}
	return without
}

// TestShortReaders: processes that end as soon as they have their bytes, each from a block that was
// not read before.
func TestShortReaders(t *testing.T) {
	d := serve(t)
	m := makeModel(t, d.file("disk.raw"), 32*mib, 23)
	source := m.as(t, "zvhd2")
	for _, image := range []string{"a", "b"} {
		d.register(t, image, source)
		var readers sync.WaitGroup
		for reader := range int64(4) {
			readers.Go(func() {
				for off := reader * 2 * mib; off < m.size; off += 8 * mib {
					m.readOnce(t, d.disk(image), off)
				}
			})
		}
		readers.Wait()
	}
}

func (m model) readOnce(t *testing.T, disk string, off int64) {
	f, err := os.Open(disk)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	got, want := make([]byte, 4*kib), make([]byte, 4*kib)
	if _, err := f.ReadAt(got, off); err != nil {
		t.Error(err)
	}
	if m.want(t, want, off); !bytes.Equal(got, want) {
		t.Errorf("wrong bytes at %#x", off)
	}
}
