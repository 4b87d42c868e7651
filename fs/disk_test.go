package fs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/tree"
)

// island is an image whose middle half is compressed data, every word of it its own offset, with zeros on both sides.
type island struct {
	size  int64
	reads atomic.Int64
	fail  atomic.Bool
}

const islandCluster = 256 << 10

func (s *island) Info() formats.Info {
	return formats.Info{Format: "island", Size: s.size, ClusterSize: islandCluster, Allocated: s.size / 2}
}

func (s *island) Extent(_ context.Context, off, n int64) (formats.Extent, error) {
	begin, end := s.size/4, s.size*3/4
	switch {
	case off < begin:
		return formats.Extent{Off: off, Len: min(n, begin-off), State: formats.Zero}, nil
	case off < end:
		return formats.Extent{Off: off, Len: min(n, end-off), State: formats.Data, Compressed: true}, nil
	}
	return formats.Extent{Off: off, Len: n, State: formats.Unallocated}, nil
}

func (s *island) ReadAt(_ context.Context, p []byte, off int64) error {
	s.reads.Add(1)
	if s.fail.Load() {
		return errors.New("planned fault")
	}
	for i := 0; i < len(p); i += 8 {
		binary.LittleEndian.PutUint64(p[i:], uint64(off)+uint64(i))
	}
	return nil
}

func (s *island) check(p []byte, off int64) error {
	for i := 0; i+8 <= len(p); i += 8 {
		at, want := off+int64(i), uint64(0)
		if at >= s.size/4 && at < s.size*3/4 {
			want = uint64(at)
		}
		if got := binary.LittleEndian.Uint64(p[i:]); got != want {
			return fmt.Errorf("word at %d is %d, want %d", at, got, want)
		}
	}
	return nil
}

// diskOf is a DiskFile over a disk that stays open.
type diskOf struct{ *lazyload.Disk }

func (d diskOf) Allocated() int64                            { return d.Size() / 2 }
func (d diskOf) Open(context.Context) (tree.OpenDisk, error) { return held(d), nil }

type held struct{ *lazyload.Disk }

func (held) Close() error { return nil }

func mountIsland(t *testing.T, size int64) (*island, string) {
	t.Helper()
	img := &island{size: size}
	l := lazyload.New(lazyload.Config{})
	d := l.Open(img)
	t.Cleanup(func() {
		d.Close()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	at := mount(t, Config{}, nodes{"disk": constant("disk", diskOf{d})})
	return img, filepath.Join(at, "disk")
}

func open(t *testing.T, path string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestDiskAttributesAndHoles(t *testing.T) {
	const size = 16 << 20
	_, path := mountIsland(t, size)
	f := open(t, path, os.O_RDONLY)
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != size || st.Blocks != size/2/512 || st.Mode&0o777 != 0o444 {
		t.Errorf("size %d, blocks %d, mode %o; want %d, %d, 444", st.Size, st.Blocks, st.Mode&0o777, size, size/2/512)
	}
	for _, c := range []struct {
		off    int64
		whence int
		want   int64
	}{
		{0, unix.SEEK_HOLE, 0},
		{0, unix.SEEK_DATA, size / 4},
		{size/4 + 5, unix.SEEK_DATA, size/4 + 5},
		{size / 4, unix.SEEK_HOLE, size * 3 / 4},
		{size * 3 / 4, unix.SEEK_HOLE, size * 3 / 4},
	} {
		if got, err := unix.Seek(int(f.Fd()), c.off, c.whence); err != nil || got != c.want {
			t.Errorf("seek(%d, %d) = %d, %v; want %d", c.off, c.whence, got, err, c.want)
		}
	}
	for _, whence := range []int{unix.SEEK_DATA, unix.SEEK_HOLE} {
		if _, err := unix.Seek(int(f.Fd()), size, whence); err != unix.ENXIO {
			t.Errorf("seek(size, %d): %v, want ENXIO", whence, err)
		}
	}
	if _, err := unix.Seek(int(f.Fd()), size*3/4, unix.SEEK_DATA); err != unix.ENXIO {
		t.Errorf("data behind the last data: %v, want ENXIO", err)
	}
}

func TestDiskIsReadOnly(t *testing.T) {
	_, path := mountIsland(t, 1<<20)
	for _, flags := range []int{os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC} {
		if f, err := os.OpenFile(path, flags, 0); !errors.Is(err, syscall.EROFS) {
			t.Errorf("open with flags %#x: %v, %v; want EROFS", flags, f, err)
		}
	}
	if err := os.Truncate(path, 0); !errors.Is(err, syscall.EROFS) {
		t.Errorf("truncate: %v, want EROFS", err)
	}
}

func TestReadersBufferedAndDirect(t *testing.T) {
	const size = 16 << 20
	img, path := mountIsland(t, size)
	var wg sync.WaitGroup
	for reader := range 8 {
		flags := os.O_RDONLY
		if reader%2 == 1 {
			flags |= unix.O_DIRECT
		}
		f := open(t, path, flags)
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(reader), 0))
			page := aligned(1 << 20)
			for range 100 {
				off, n := rng.Int64N(size/4096)*4096, (1+rng.IntN(256))*4096
				got, err := f.ReadAt(page[:n], off)
				if want := int(min(int64(n), size-off)); got != want || (err != nil && err != io.EOF) {
					t.Errorf("read(%d, %d) = %d, %v", off, n, got, err)
					return
				}
				if err := img.check(page[:got], off); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func aligned(n int) []byte {
	b := make([]byte, n+4096)
	skip := -uintptr(unsafe.Pointer(&b[0])) & 4095
	return b[skip:][:n]
}

// What was read once, and what was decoded with it, is the kernel's from then on, also for those who open the disk later.
func TestPagesAreKept(t *testing.T) {
	const size = 16 << 20
	img, path := mountIsland(t, size)
	p := make([]byte, 4096)
	f := open(t, path, os.O_RDONLY)
	if _, err := f.ReadAt(p, size/2); err != nil {
		t.Fatal(err)
	}
	f.Close()
	decoded := img.reads.Load()
	img.fail.Store(true) // from here on the daemon has nothing to give
	cached := make([]byte, islandCluster)
	for deadline := time.Now().Add(10 * time.Second); ; {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		resident := mincore(t, f, size/2, islandCluster)
		if resident == islandCluster/4096 {
			if _, err := f.ReadAt(cached, size/2); err != nil {
				t.Error(err)
			}
			f.Close()
			break
		}
		f.Close()
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d pages of the decoded cluster are in the page cache", resident, islandCluster/4096)
		}
	}
	if err := img.check(cached, size/2); err != nil {
		t.Error(err)
	}
	if n := img.reads.Load(); n != decoded {
		t.Errorf("%d more decodes", n-decoded)
	}
}

// mincore counts the pages of a range that are in the page cache. Mapping does not touch them, so no fault can wait for
// this process's own file system.
func mincore(t *testing.T, f *os.File, off int64, n int) int {
	t.Helper()
	m, err := unix.Mmap(int(f.Fd()), off, n, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	vec := make([]byte, n/4096)
	if _, _, no := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(n), uintptr(unsafe.Pointer(&vec[0]))); no != 0 {
		t.Fatal(no)
	}
	resident := 0
	for _, v := range vec {
		resident += int(v & 1)
	}
	return resident
}

func TestFailedReadIsEIOAndNotRemembered(t *testing.T) {
	img, path := mountIsland(t, 16<<20)
	img.fail.Store(true)
	f := open(t, path, os.O_RDONLY)
	p := make([]byte, 4096)
	if _, err := f.ReadAt(p, 8<<20); !errors.Is(err, syscall.EIO) {
		t.Errorf("error %v, want EIO", err)
	}
	img.fail.Store(false)
	if _, err := f.ReadAt(p, 8<<20); err != nil {
		t.Fatal(err)
	}
	if err := img.check(p, 8<<20); err != nil {
		t.Error(err)
	}
}
