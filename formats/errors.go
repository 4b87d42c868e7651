package formats

import (
	"errors"
	"fmt"
)

// ErrCorrupt is the kind (errors.Is) of every error about damaged or hostile content. A format or
// feature that is recognised but not read has errors.ErrUnsupported instead.
var ErrCorrupt = errors.New("damaged image")

// kindError is a sentence of a kind, which errors.Is finds and the text does not repeat.
type kindError struct {
	kind error
	text string
}

func (e *kindError) Error() string        { return e.text }
func (e *kindError) Is(target error) bool { return target == e.kind }

// Corrupt makes an error of kind ErrCorrupt that reads "DRIVER: at 0xOFF: SENTENCE". The sentence
// names the field or structure and the rule that it breaks.
func Corrupt(driver string, off int64, format string, args ...any) error {
	return &kindError{ErrCorrupt, fmt.Sprintf("%s: at %#x: %s", driver, off, fmt.Sprintf(format, args...))}
}

// NoSnapshot returns the error of a driver without internal snapshots if opts names one.
func NoSnapshot(driver string, opts OpenOptions) error {
	if opts.Snapshot == "" {
		return nil
	}
	return fmt.Errorf("%s: snapshot %q: the format has no internal snapshots: %w", driver, opts.Snapshot, errors.ErrUnsupported)
}
