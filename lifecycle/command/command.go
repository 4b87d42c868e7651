// Package command carries out commands: one line, one verb, one answer.
//
// A verb is one row of a table (verb.go): its arguments and options with the rules for their values
// (rule.go), the states and the role it needs, its needs of the target, and a Prepare function.
// Perform (perform.go) takes a call through one chain, the same for every verb:
//
//	parse → role → state → limits → needs → Prepare → Apply → Then → journal
//
// Prepare may look at the world, and so may wait for it; it holds no lock. It returns a Plan, whose
// Apply only changes records, in one transaction. So no command waits for what another looks at.
//
// The listing in a ctl file, the tables in docs/control-files.md and the completion of the command
// line are made from the same rows (Spec).
//
// The package is pure: it knows no image, no database and no file.
package command

import (
	"fmt"
	iofs "io/fs"
	"strings"
	"syscall"
	"unicode"
)

var (
	// ErrUsage is a command that cannot be parsed: wrong words, not wrong values. It is also an
	// iofs.ErrInvalid.
	ErrUsage = fmt.Errorf("not a command: %w", iofs.ErrInvalid)
	// ErrBusy is a command, or an opening, that the target's state does not allow. It is also a
	// syscall.EBUSY.
	ErrBusy = fmt.Errorf("not in this state: %w", syscall.EBUSY)
)

// refusal is a sentence for people with a kind for programs: ErrUsage, ErrBusy, iofs.ErrExist, …
type refusal struct {
	kind error
	text string
}

func (e *refusal) Error() string { return e.text }
func (e *refusal) Unwrap() error { return e.kind }

// Refuse returns an error that reads as the sentence and is of the kind (errors.Is).
func Refuse(kind error, format string, args ...any) error {
	return &refusal{kind, fmt.Sprintf(format, args...)}
}

// Answer returns err as the caller of a command reads it: of the same kind, in one line.
func Answer(err error) error {
	if err == nil {
		return nil
	}
	return &refusal{err, Sentence(err)}
}

// Sentence returns an error as one line of text, "" for nil. Control characters become blanks,
// because text from a source may hold anything.
func Sentence(err error) string {
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
