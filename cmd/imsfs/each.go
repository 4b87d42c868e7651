package main

import "errors"

// failures are the errors of a command that does the same for several names. Each is a line of its
// own on stderr.
type failures []error

func (f failures) Error() string   { return errors.Join(f...).Error() }
func (f failures) Unwrap() []error { return f }

// forEach calls do for each of the words, also after it failed for one.
func forEach(words []string, do func(word string) error) error {
	var failed failures
	for _, w := range words {
		if err := do(w); err != nil {
			failed = append(failed, err)
		}
	}
	if failed == nil {
		return nil
	}
	return failed
}
