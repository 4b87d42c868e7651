package disk

import (
	"errors"
	"fmt"
)

// ErrCorrupt is what every error about damaged or hostile content is (errors.Is).
var ErrCorrupt = errors.New("damaged")

// ErrUnsupported is what every error about a known feature that is not read is (errors.Is).
var ErrUnsupported = errors.ErrUnsupported

// ErrBudget is the error of a read for which the context's Budget has nothing left.
var ErrBudget = errors.New("the read budget is spent")

// corruptError carries the sentence; its kind is ErrCorrupt.
type corruptError struct{ text string }

func (e *corruptError) Error() string        { return e.text }
func (e *corruptError) Is(target error) bool { return target == ErrCorrupt }

// Corrupt makes an error that is ErrCorrupt and reads "DRIVER: PLACE: RULE". The place names a
// structure as its tools do, and the rule names the field, its value and the limit. For example:
//
//	Corrupt("ext", "inode 12, extent at block 0x4001", "depth %d: the level above has %d", 3, 1)
func Corrupt(driver, place, rule string, args ...any) error {
	return &corruptError{fmt.Sprintf("%s: %s: %s", driver, place, fmt.Sprintf(rule, args...))}
}

// Unsupported makes an error that is ErrUnsupported and names the feature. A driver refuses with it
// instead of showing less than there is. For example:
//
//	Unsupported("ext", "incompatible feature 0x%x", bits)
func Unsupported(driver, feature string, args ...any) error {
	return fmt.Errorf("%s: %s: %w", driver, fmt.Sprintf(feature, args...), ErrUnsupported)
}
