package kv

import (
	"errors"
	"fmt"
	iofs "io/fs"
)

var (
	// ErrInUse is returned by Open for a store that another process has open. The error names
	// the process.
	ErrInUse = errors.New("the store is in use")
	// ErrDamaged is returned by Open for a store whose files are not as they were left.
	ErrDamaged = errors.New("the store is damaged")
)

// missingError formats its text late, because most callers only compare the error.
type missingError struct{ key []byte }

func (e *missingError) Error() string        { return fmt.Sprintf("key %q: %v", e.key, iofs.ErrNotExist) }
func (e *missingError) Is(target error) bool { return target == iofs.ErrNotExist }

type inUseError struct{ holder string }

func (e *inUseError) Error() string        { return "it is in use by " + e.holder }
func (e *inUseError) Is(target error) bool { return target == ErrInUse }

type damagedError struct{ text string }

func (e *damagedError) Error() string        { return "it is damaged: " + e.text }
func (e *damagedError) Is(target error) bool { return target == ErrDamaged }

func damaged(format string, args ...any) error {
	return &damagedError{fmt.Sprintf(format, args...)}
}
