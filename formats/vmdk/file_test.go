package vmdk

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
)

// fileSource is a file with its holes.
type fileSource struct {
	f    *os.File
	size int64
}

func newFileSource(t testing.TB, f *os.File) *fileSource {
	t.Helper()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return &fileSource{f, st.Size()}
}

func (s *fileSource) Size() int64 { return s.size }

func (s *fileSource) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := s.f.ReadAt(p, off)
	return err
}

func (s *fileSource) Allocated() int64 { return s.size }

// Hole asks the kernel where the next data and the next hole are.
func (s *fileSource) Hole(_ context.Context, off, n int64) (bool, int64, error) {
	const seekData, seekHole = 3, 4
	data, err := s.f.Seek(off, seekData)
	switch {
	case errors.Is(err, syscall.ENXIO):
		return true, n, nil
	case err != nil:
		return false, 0, err
	case data > off:
		return true, min(n, data-off), nil
	}
	hole, err := s.f.Seek(off, seekHole)
	return false, min(n, hole-off), err
}
