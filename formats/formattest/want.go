package formattest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
)

// WantError asserts the kind of an error and words in its text.
func WantError(t testing.TB, err, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%v: is not %q", err, kind)
	}
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error %v does not name %q", err, w)
		}
	}
}

// WantProblems wants these findings of a Checker, each by words of its text, in the order of the
// file, and no others. A word "leak" stands for the mark.
func WantProblems(t testing.TB, found []formats.Problem, want ...[]string) {
	t.Helper()
	if len(found) != len(want) {
		t.Fatalf("%d problems, want %d: %+v", len(found), len(want), found)
	}
	for i, p := range found {
		if p.Leak != slices.Contains(want[i], "leak") {
			t.Errorf("problem %d: %+v: Leak = %v", i, p, p.Leak)
		}
		for _, w := range want[i] {
			if w != "leak" && !strings.Contains(p.Text, w) {
				t.Errorf("problem %d: %q does not say %q", i, p.Text, w)
			}
		}
		if i > 0 && p.Off < found[i-1].Off {
			t.Errorf("problem %d at %#x comes after one at %#x", i, p.Off, found[i-1].Off)
		}
	}
}

// Problems returns the problems that the driver's check reports.
func Problems(t testing.TB, d formats.Checker, src formats.Source, opts formats.OpenOptions) []formats.Problem {
	t.Helper()
	var found []formats.Problem
	if err := d.Check(t.Context(), src, opts, func(p formats.Problem) { found = append(found, p) }); err != nil {
		t.Fatal(err)
	}
	return found
}
