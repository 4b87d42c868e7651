package fs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/tree"
)

// memory is a disk in memory that can be written to.
type memory struct {
	name string
	mu   sync.Mutex
	data []byte
	by   []command.Process // who opened it for writing
	sync int               // flushes
}

func volume(name string, size int) *memoryFile {
	return &memoryFile{&memory{name: name, data: make([]byte, size)}}
}

// memoryFile is that disk as a file.
type memoryFile struct{ *memory }

var _ tree.WritableFile = (*memoryFile)(nil)

func (f *memoryFile) node() tree.Disk {
	return tree.Disk{Thing: is(tree.Key(f.name)), Name: f.name, File: f}
}

// readOnly is the same disk without the role of a writer.
func (f *memoryFile) readOnly() tree.DiskFile { return struct{ tree.DiskFile }{f} }

func (m *memory) Size() int64      { return int64(len(m.data)) }
func (m *memory) Allocated() int64 { return int64(len(m.data)) }
func (m *memory) Close() error     { return nil }

func (f *memoryFile) Open(context.Context) (tree.OpenDisk, error) { return f.memory, nil }

func (f *memoryFile) OpenWriter(_ context.Context, by command.Process) (tree.WritableDisk, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.by = append(f.by, by)
	return f.memory, nil
}

func (m *memory) Extent(_ context.Context, off, n int64) (formats.Extent, error) {
	return formats.Extent{Off: off, Len: n, State: formats.Data}, nil
}

func (m *memory) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := copy(p, m.data[min(off, int64(len(m.data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) WriteAt(_ context.Context, p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if off+int64(len(p)) > int64(len(m.data)) {
		return 0, os.ErrInvalid
	}
	return copy(m.data[off:], p), nil
}

func (m *memory) Zero(_ context.Context, off, n int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.data[off:][:n])
	return nil
}

func (m *memory) Flush() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sync++
	return nil
}

// A block device refuses requests with O_DIRECT that are no whole sectors; programs find out the
// sector size that way. Through the page cache everything is allowed.
func TestOddRequestsPastThePageCache(t *testing.T) {
	const size = 1<<20 + 3*512
	v := volume("volume", size)
	for i := range v.data {
		v.data[i] = byte(i / 512)
	}
	model := bytes.Clone(v.data)
	at := mount(t, Config{}, nodes{"volume": v.node(), "image": constant("image", v.readOnly())})
	for _, name := range []string{"image", "volume"} {
		flags := os.O_RDONLY
		if name == "volume" {
			flags = os.O_RDWR
		}
		direct := open(t, filepath.Join(at, name), flags|unix.O_DIRECT)
		cached := open(t, filepath.Join(at, name), flags)
		for _, c := range []struct {
			off int64
			n   int
			odd bool
		}{{0, 1, true}, {0, 511, true}, {256, 512, true}, {1, 4096, true}, {0, 512, false}, {512, 1024, false}, {size - 512, 512, false}, {size - 512, 4096, false}} {
			p := aligned(c.n)
			want := model[c.off:min(c.off+int64(c.n), size)]
			n, err := unix.Pread(int(direct.Fd()), p, c.off)
			if c.odd != errors.Is(err, syscall.EINVAL) || !c.odd && (err != nil || !bytes.Equal(p[:n], want)) {
				t.Errorf("%s: a direct read of %d bytes at %d: %d, %v", name, c.n, c.off, n, err)
			}
			if n, err := unix.Pread(int(cached.Fd()), p, c.off); err != nil || !bytes.Equal(p[:n], want) {
				t.Errorf("%s: a read of %d bytes at %d: %d, %v", name, c.n, c.off, n, err)
			}
			if name == "image" || c.off+int64(c.n) > size {
				continue
			}
			copy(p, want)
			if n, err := unix.Pwrite(int(direct.Fd()), p, c.off); c.odd != errors.Is(err, syscall.EINVAL) || !c.odd && n != c.n {
				t.Errorf("%s: a direct write of %d bytes at %d: %d, %v", name, c.n, c.off, n, err)
			}
			if n, err := unix.Pwrite(int(cached.Fd()), p, c.off); err != nil || n != c.n {
				t.Errorf("%s: a write of %d bytes at %d: %d, %v", name, c.n, c.off, n, err)
			}
		}
	}
}

// dd, cp and shells open what they overwrite with O_TRUNC. A disk keeps its size, as a device does.
func TestTruncatingOpenOfAVolume(t *testing.T) {
	const size = 1 << 20
	v := volume("volume", size)
	copy(v.data[size-10:], "unharmed")
	at := mount(t, Config{}, nodes{"volume": v.node()})
	path := filepath.Join(at, "volume")
	f := open(t, path, os.O_WRONLY|os.O_TRUNC)
	if st, err := f.Stat(); err != nil || st.Size() != size {
		t.Errorf("opened, its size is %v, %v", st.Size(), err)
	}
	if _, err := f.WriteString("new bytes"); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Size() != size {
		t.Errorf("written, its size is %v, %v", st.Size(), err)
	}
	b, err := os.ReadFile(path)
	if err != nil || len(b) != size || !bytes.HasPrefix(b, []byte("new bytes")) || !bytes.HasPrefix(b[size-10:], []byte("unharmed")) {
		t.Errorf("%d bytes, %q…, %v", len(b), b[:10], err)
	}
	if err := f.Truncate(0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("truncating the open file: %v", err)
	}
}

func TestWriterIsTheProcess(t *testing.T) {
	v := volume("volume", 1<<20)
	at := mount(t, Config{}, nodes{"volume": v.node()})
	for range 2 {
		done := make(chan struct{})
		go func() { // on another thread, perhaps
			defer close(done)
			open(t, filepath.Join(at, "volume"), os.O_RDWR)
		}()
		<-done
	}
	if r := shell(t, `exec 3<>"$1"; exec 4<>"$1"`, filepath.Join(at, "volume")); r != nil {
		t.Fatal(r)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.by) != 4 || int(v.by[0].PID) != os.Getpid() || !v.by[0].Same(v.by[1]) || !v.by[2].Same(v.by[3]) || v.by[0].Same(v.by[2]) {
		t.Errorf("the writers were %v, this process is %d", v.by, os.Getpid())
	}
	if slices.ContainsFunc(v.by, func(p command.Process) bool { return p.Started == 0 }) {
		t.Errorf("a writer has no start time: %v", v.by)
	}
}

func TestFsyncFlushesAVolume(t *testing.T) {
	v := volume("volume", 1<<20)
	at := mount(t, Config{}, nodes{"volume": v.node()})
	f := open(t, filepath.Join(at, "volume"), os.O_RDONLY)
	must(t, f.Sync())
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sync == 0 {
		t.Error("an fsync of a file that was opened for reading flushed nothing")
	}
}
