package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestAwait: a job that is done at once takes no pause of the longest length, and one that ends later
// is noticed.
func TestAwait(t *testing.T) {
	quiet := display{show: func(float64, string) {}, end: func(string) {}}
	path := filepath.Join(t.TempDir(), "job")
	writeText(t, path, "DONE 1.0 - hydrate\n")
	begun := time.Now()
	if err := await(t.Context(), path, quiet); err != nil || time.Since(begun) >= jobPause {
		t.Errorf("a job that is done: %v after %s", err, time.Since(begun))
	}
	writeText(t, path, "RUNNING 0.5 - hydrate\n")
	ended := false
	watch := display{
		show: func(float64, string) {
			if ended {
				return
			}
			ended = true
			next := path + ".next"
			writeText(t, next, "FAILED 0.5 - hydrate: no source\n")
			if err := os.Rename(next, path); err != nil {
				t.Error(err)
			}
		},
		end: func(string) {},
	}
	if err := await(t.Context(), path, watch); err == nil || err.Error() != "no source" {
		t.Errorf("a job that fails: %v", err)
	}
}
