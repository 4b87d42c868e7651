package vmdk

import (
	"context"
	"errors"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// file is a source with its name in the descriptor, for errors. The opened source has none.
type file struct {
	formats.Source
	name string
}

// where begins errors about the file.
func (f file) where() string {
	if f.name == "" {
		return name
	}
	return name + ": " + shorten(f.name)
}

// corrupt makes the error about damage at an offset of the file.
func (f file) corrupt(off int64, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	err := formats.Corrupt(f.where(), off, "%s", text)
	if f.name != "" {
		text = shorten(f.name) + ": " + text
	}
	return &fault{formats.Problem{Off: off, Text: text}, err}
}

// read fills p with the bytes at off, which are of what.
func (f file) read(ctx context.Context, p []byte, off int64, what string) error {
	if err := f.ReadAt(ctx, p, off); err != nil {
		return fmt.Errorf("%s: %s at %#x: %w", f.where(), what, off, err)
	}
	return nil
}

// unsupported makes the error about a recognised kind that is not read.
func (f file) unsupported(format string, args ...any) error {
	return fmt.Errorf("%s: %s: %w", f.where(), fmt.Sprintf(format, args...), errors.ErrUnsupported)
}

// fault is damage: an error (formats.Corrupt) for Open, and a problem for Check.
type fault struct {
	problem formats.Problem
	err     error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// shorten quotes text of a hostile file for a sentence.
func shorten(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
