package lifecycle

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

var (
	// ErrUsage is a command that cannot be understood: wrong words, not wrong values.
	ErrUsage = errors.New("not a command")
	// ErrBusy is a command, or an opening, that must wait for a job to end.
	ErrBusy = errors.New("busy")
)

// refusal is a sentence for people with a kind for programs: ErrUsage, ErrBusy, iofs.ErrExist, …
type refusal struct {
	kind error
	text string
}

func (e *refusal) Error() string { return e.text }
func (e *refusal) Unwrap() error { return e.kind }

func refuse(kind error, format string, args ...any) error {
	return &refusal{kind, fmt.Sprintf(format, args...)}
}

// sentence is an error as one line of text, "" for none. Text that comes out of a source may hold anything.
func sentence(err error) string {
	if err == nil {
		return ""
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(err.Error(), "?"))
}
