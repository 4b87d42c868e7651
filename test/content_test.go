package test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// model is a raw disk with known bytes. Its file is compared with everything else.
type model struct {
	path string
	size int64
}

// pieceSize is the length of a model's pieces. It is not a multiple of most formats' clusters, so
// that clusters have mixed content.
const pieceSize = 192 * kib

// makeModel writes a raw disk of pieces chosen by seed: holes, written zeros, words that are their
// own offset (which compress) and noise (which does not).
func makeModel(t *testing.T, path string, size int64, seed uint64) model {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	must(t, f.Truncate(size))
	chance := rand.New(rand.NewPCG(seed, uint64(size)))
	noise := rand.NewChaCha8([32]byte{byte(seed)})
	piece := make([]byte, pieceSize)
	for off := int64(0); off < size; off += pieceSize {
		clear(piece)
		switch chance.IntN(5) {
		case 0:
			continue
		case 1:
		case 2:
			noise.Read(piece)
		default:
			words(piece, uint64(off)^seed<<48)
		}
		if _, err := f.WriteAt(piece[:min(pieceSize, size-off)], off); err != nil {
			t.Fatal(err)
		}
	}
	return model{path, size}
}

func words(p []byte, first uint64) {
	for i := 0; i+8 <= len(p); i += 8 {
		binary.LittleEndian.PutUint64(p[i:], first+uint64(i))
	}
}

// want fills p with the bytes that a disk of the model must have at off: zeros past the model's
// end, because formats round the size up.
func (m model) want(t *testing.T, p []byte, off int64) {
	clear(p)
	f, err := os.Open(m.path)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if _, err := f.ReadAt(p, off); err != nil && !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// same checks that a file has the model's bytes, followed by zeros only. It stops at the first
// difference.
func (m model) same(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	m.sameFile(t, f, path)
}

// sameFile is same for an open file. Past the model's end, where a ZVHD2 has up to a GiB more, it
// reads only data, and both ends of the rest.
func (m model) sameFile(t *testing.T, f *os.File, name string) {
	t.Helper()
	m.sameAs(t, io.NewSectionReader(f, 0, m.size), name)
	info, err := f.Stat()
	must(t, err)
	checkZeros(t, f, m.size, info.Size())
	for end := m.size; ; {
		off, err := unix.Seek(int(f.Fd()), end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return
		}
		must(t, err)
		end, err = unix.Seek(int(f.Fd()), off, unix.SEEK_HOLE)
		must(t, err)
		p := make([]byte, end-off)
		_, err = f.ReadAt(p, off)
		must(t, err)
		if at := firstDifference(p, make([]byte, len(p))); at < len(p) {
			t.Fatalf("%s has %#x at %#x, past the end of its model", name, p[at], off+int64(at))
		}
	}
}

// sameAs is same for a reader.
func (m model) sameAs(t *testing.T, r io.Reader, name string) {
	t.Helper()
	got, want := make([]byte, mib), make([]byte, mib)
	for off := int64(0); ; {
		n, err := io.ReadFull(r, got)
		m.want(t, want[:n], off)
		if !bytes.Equal(got[:n], want[:n]) {
			at := firstDifference(got[:n], want[:n])
			t.Fatalf("%s differs from its model %s at %#x: %x, want %x", name, filepath.Base(m.path), off+int64(at), got[at:min(at+16, n)], want[at:min(at+16, n)])
		}
		off += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			if off < m.size {
				t.Fatalf("%s ends at %d, its model at %d", name, off, m.size)
			}
			return
		}
		if err != nil {
			t.Fatalf("reading %s at %#x: %v", name, off, err)
		}
	}
}

// firstDifference returns the first index at which a and b differ, or len(a).
func firstDifference(a, b []byte) int {
	const step = 4 * kib // compared at once, because the race detector checks each access
	at := 0
	for at+step <= len(a) && bytes.Equal(a[at:at+step], b[at:at+step]) {
		at += step
	}
	for at < len(a) && a[at] == b[at] {
		at++
	}
	return at
}

// as converts the model to a format by the program, and returns the new file's path.
func (m model) as(t *testing.T, format string) string {
	t.Helper()
	if format == "raw" {
		return m.path
	}
	path := m.path + "." + format
	mustRun(t, program, "convert", "-f", "raw", "-O", format, m.path, path)
	return path
}
