package file

import (
	"bytes"
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/lazyload/source"
)

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func at(path string) source.Location { return source.Location{Scheme: source.File, Path: path} }

func open(t *testing.T, path string) *File {
	t.Helper()
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestReadAt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	content := bytes.Repeat([]byte("0123456789"), 1000)
	write(t, path, content)
	s := open(t, path)
	if s.Size() != 10000 {
		t.Errorf("size %d", s.Size())
	}
	p := make([]byte, 100)
	if err := s.ReadAt(t.Context(), p, 555); err != nil || !bytes.Equal(p, content[555:655]) {
		t.Errorf("ReadAt(555) = %q, %v", p, err)
	}
	if err := s.ReadAt(t.Context(), p, 9950); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), path) {
		t.Errorf("read over the end: %v", err)
	}
}

// A change of an open file must never show as bytes, only as an error that says what happened.
func TestChangedWhileOpen(t *testing.T) {
	for _, c := range []struct {
		name, says string
		change     func(path string) error
	}{
		{"truncated", "truncated from 4096 to 100 bytes", func(p string) error { return os.Truncate(p, 100) }},
		{"grown", "grown from 4096 to 5000 bytes", func(p string) error { return os.Truncate(p, 5000) }},
		{"written in place", "written to", func(p string) error {
			f, err := os.OpenFile(p, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte("x"), 50)
			return err
		}},
		{"written in place with its time put back", "without a visible reason", func(p string) error {
			info, err := os.Stat(p)
			if err != nil {
				return err
			}
			f, err := os.OpenFile(p, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("x"), 50)
			return errors.Join(err, f.Close(), os.Chtimes(p, info.ModTime(), info.ModTime()))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image")
			write(t, path, make([]byte, 4096))
			s := open(t, path)
			if err := c.change(path); err != nil {
				t.Fatal(err)
			}
			err := s.ReadAt(t.Context(), make([]byte, 10), 45)
			if !errors.Is(err, source.ErrChanged) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want source.ErrChanged with %q", err, c.says)
			}
			if hole, n, err := s.Hole(t.Context(), 2048, 100); !errors.Is(err, source.ErrChanged) {
				t.Errorf("Hole = %v, %d, %v; want source.ErrChanged", hole, n, err)
			}
		})
	}
}

// A file that was replaced by rename stays readable while it is open, and its location has another identity.
func TestReplaced(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "image"), filepath.Join(dir, "other")
	write(t, path, []byte("old bytes"))
	s := open(t, path)
	write(t, other, []byte("new bytes"))
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 9)
	if err := s.ReadAt(t.Context(), p, 0); err != nil || string(p) != "old bytes" {
		t.Errorf("the open file reads %q, %v", p, err)
	}
	now, err := (Kind{}).Identify(t.Context(), at(path))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Identity().Changed(path, now); !errors.Is(err, source.ErrChanged) || !strings.Contains(err.Error(), "another file") {
		t.Errorf("a replaced file: %v", err)
	}
}

func TestOnlyFilesAreOpened(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		location string
		is       error
	}{
		{filepath.Join(dir, "missing"), iofs.ErrNotExist},
		{dir, unix.EISDIR},
		{fifo, unix.EINVAL},
	} {
		if s, err := Open(t.Context(), c.location); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.location) {
			t.Errorf("Open(%s) = %v, %v; want %v", c.location, s, err, c.is)
		}
		if _, err := (Kind{}).Identify(t.Context(), at(c.location)); !errors.Is(err, c.is) {
			t.Errorf("Identify(%s): %v, want %v", c.location, err, c.is)
		}
	}
}

func TestHoles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	const mib = 1 << 20
	if _, err := f.WriteAt(bytes.Repeat([]byte{1}, mib), 2*mib); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(8*mib), f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	for _, c := range []struct {
		off, n int64
		hole   bool
		length int64
	}{
		{0, 8 * mib, true, 2 * mib},
		{0, mib, true, mib},
		{2 * mib, 6 * mib, false, mib},
		{2*mib + 100, 100, false, 100},
		{3 * mib, 5 * mib, true, 5 * mib},
	} {
		hole, length, err := s.Hole(t.Context(), c.off, c.n)
		if err != nil || hole != c.hole || length != c.length {
			t.Errorf("Hole(%d, %d) = %v, %d, %v; want %v, %d", c.off, c.n, hole, length, err, c.hole, c.length)
		}
	}
	if a := s.Allocated(); a < mib || a > mib+64<<10 {
		t.Errorf("allocated %d, want about %d", a, mib)
	}
}

func TestReadWithoutAReaderDoesNotBegin(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.ReadAt(ctx, make([]byte, 4), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("ReadAt: %v, want context.Canceled", err)
	}
}
