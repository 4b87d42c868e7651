package formattest

import (
	"errors"

	"github.com/imsfs/imsfs/formats"
)

// ErrFull is the error of a Failing target.
var ErrFull = errors.New("no space left")

// Failing is a target that takes so many calls and fails at all that come after them. It keeps
// nothing.
type Failing struct{ Left int }

var _ formats.Target = (*Failing)(nil)

func (f *Failing) call() error {
	if f.Left--; f.Left < 0 {
		return ErrFull
	}
	return nil
}

func (f *Failing) WriteAt(p []byte, _ int64) (int, error) {
	if err := f.call(); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *Failing) Truncate(int64) error { return f.call() }
