package qcow2

import (
	"errors"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// fault is an error of formats.Corrupt with its offset, for Check.
type fault struct {
	error
	off  int64
	text string
}

func (f *fault) Unwrap() error { return f.error }

func corrupt(off int64, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	return &fault{formats.Corrupt(name, off, "%s", text), off, text}
}

// unsupported makes the error about a feature that is recognised and not read.
func unsupported(format string, args ...any) error {
	return fmt.Errorf("qcow2: %s is not read: %w", fmt.Sprintf(format, args...), errors.ErrUnsupported)
}
