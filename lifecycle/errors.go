package lifecycle

import (
	"fmt"
	iofs "io/fs"
	"strings"
	"syscall"
	"unicode"
)

var (
	// ErrUsage is a command that cannot be understood: wrong words, not wrong values. It is an iofs.ErrInvalid, too.
	ErrUsage = fmt.Errorf("not a command: %w", iofs.ErrInvalid)
	// ErrBusy is a command, or an opening, that the image's state does not allow. It is a syscall.EBUSY, too.
	ErrBusy = fmt.Errorf("not in this state: %w", syscall.EBUSY)
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

// told makes what a command is answered: the same error, in one line.
func told(err error) error {
	if err == nil {
		return nil
	}
	return &refusal{err, sentence(err)}
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
