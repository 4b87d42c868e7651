package overlay

import (
	"bytes"
	"github.com/imsfs/imsfs/formats"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
)

// memory is a file that remembers, for each of its pages, all that a power cut could leave there.
type memory struct {
	mu    sync.Mutex
	bytes []byte
	past  map[int64][][]byte // by page: what it was since the last sync, that included
	room  int                // writes that succeed until the disk is full; less than 0: all
	bad   error              // what Sync returns
	ops   int                // writes

	mapped bool
	synced []byte // of a mapping: as it was at the last sync
}

func newMemory() *memory { return &memory{past: map[int64][][]byte{}, room: -1} }

func newFiles() Files {
	return Files{Name: "test.delta", Data: newMemory(), Bitmap: newMemory(), Sums: newMemory(), Boot: "1"}
}

// bareFiles are files as an older imsfs made them.
func bareFiles() Files { return Files{Name: "test.delta", Data: newMemory(), Bitmap: newMemory()} }

// cutFiles is what a power cut leaves.
func cutFiles(f Files, r *rand.Rand) Files {
	after := Files{Name: f.Name, Data: inner(f.Data).cut(r, false), Bitmap: inner(f.Bitmap).cut(r, true), Boot: f.Boot + "1"}
	if f.Sums != nil {
		after.Sums = inner(f.Sums).cutWords(r)
	}
	return after
}

func inner(f File) *memory {
	if l, ok := f.(limb); ok {
		return l.memory
	}
	return f.(*memory)
}

// cutWords leaves each word of a mapping as it is, or as it was at the last sync.
func (m *memory) cutWords(r *rand.Rand) *memory {
	after := newMemory()
	after.bytes = bytes.Clone(m.bytes)
	piece := 512
	for at := 0; at+piece <= min(len(after.bytes), len(m.synced)); at += piece {
		if at == sumsHead {
			piece = wordSize
		}
		if r.IntN(2) == 0 {
			copy(after.bytes[at:at+piece], m.synced[at:])
		}
	}
	return after
}

func (m *memory) Map(size int64) ([]byte, error) {
	if err := m.Truncate(size); err != nil {
		return nil, err
	}
	m.mapped = true
	return m.bytes, nil
}

func (m *memory) Unmap([]byte) error   { return nil }
func (m *memory) Release([]byte) error { return nil }
func (m *memory) Reserve(off, n int64) error {
	if m.room == 0 {
		return syscall.ENOSPC
	}
	return nil
}

func (m *memory) page(i int64) []byte {
	p := make([]byte, Unit)
	if at := i * Unit; at < int64(len(m.bytes)) {
		copy(p, m.bytes[at:])
	}
	return p
}

// change is called before a range changes.
func (m *memory) change(off, n int64) {
	for i := off / Unit; i*Unit < off+n; i++ {
		if len(m.past[i]) == 0 {
			m.past[i] = [][]byte{m.page(i)}
		}
	}
}

// changed is called behind it: a page is written out as it is at some time.
func (m *memory) changed(off, n int64) {
	for i := off / Unit; i*Unit < off+n; i++ {
		m.past[i] = append(m.past[i], m.page(i))
	}
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.room == 0 {
		return 0, syscall.ENOSPC
	}
	m.room--
	m.ops++
	n := int64(len(p))
	m.change(off, n)
	m.grow(off + n)
	copy(m.bytes[off:], p)
	m.changed(off, n)
	return len(p), nil
}

func (m *memory) grow(size int64) {
	if size > int64(len(m.bytes)) {
		m.bytes = append(m.bytes, make([]byte, size-int64(len(m.bytes)))...)
	}
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if off >= int64(len(m.bytes)) {
		return 0, io.EOF
	}
	n := copy(p, m.bytes[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) Size() (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.bytes)), nil
}

func (m *memory) Truncate(size int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.grow(size)
	m.bytes = m.bytes[:size:size]
	return nil
}

func (m *memory) Punch(off, n int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n = min(n, int64(len(m.bytes))-off)
	m.change(off, n)
	clear(m.bytes[off:][:n])
	m.changed(off, n)
	return nil
}

func (m *memory) Sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bad == nil {
		clear(m.past)
	}
	if m.mapped {
		m.synced = bytes.Clone(m.bytes)
	}
	return m.bad
}

func (m *memory) NextData(off int64) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for ; off < int64(len(m.bytes)); off = (off/Unit + 1) * Unit {
		if !formats.IsZero(m.bytes[off:min(off/Unit*Unit+Unit, int64(len(m.bytes)))]) {
			return off, nil
		}
	}
	return 0, io.EOF
}

func (m *memory) Close() error { return nil }

// cut is what is on disk after a power cut: of each page some version, or, where torn, of each of its sectors.
func (m *memory) cut(r *rand.Rand, torn bool) *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	after := newMemory()
	after.bytes = bytes.Clone(m.bytes)
	piece := Unit
	if torn {
		piece = 512
	}
	for i, versions := range m.past {
		for at := 0; at < Unit; at += piece {
			from := int(i)*Unit + at
			if from >= len(after.bytes) {
				break
			}
			end := min(from+piece, len(after.bytes))
			copy(after.bytes[from:end], versions[r.IntN(len(versions))][at:])
		}
	}
	return after
}
