package kv

import (
	"errors"
	"fmt"
)

var (
	// ErrInUse is what Open returns for a store that a process, which the error names, has open.
	ErrInUse = errors.New("the store is in use")
	// ErrDamaged is what Open returns for a store whose files are not as they were left.
	ErrDamaged = errors.New("the store is damaged")
)

type inUseError struct{ holder string }

func (e *inUseError) Error() string        { return "it is in use by " + e.holder }
func (e *inUseError) Is(target error) bool { return target == ErrInUse }

type damagedError struct{ text string }

func (e *damagedError) Error() string        { return "it is damaged: " + e.text }
func (e *damagedError) Is(target error) bool { return target == ErrDamaged }

func damaged(format string, args ...any) error {
	return &damagedError{fmt.Sprintf(format, args...)}
}
