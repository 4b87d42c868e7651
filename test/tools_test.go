package test

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// patience is how long anything is waited for that should come at once: only a hang exceeds it, also on a loaded machine.
const patience = time.Minute

// result is what a command that has ended leaves.
type result struct {
	stdout, stderr string
	code           int
}

// run runs a tool to its end. Its own failure is a result, one of running it fails the test.
func run(t *testing.T, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience) // not t.Context: that of a cleanup has ended
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		t.Fatalf("%s: still running after %v", cmd, patience)
	case errors.Is(err, exec.ErrNotFound):
		t.Fatalf("the tool %s is not installed: the tests need bash, coreutils, cmp, util-linux, e2fsprogs, fuse3 and qemu-utils", name)
	case err != nil && !errors.As(err, &exit):
		t.Fatalf("%s: %v", cmd, err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// do runs a tool that must succeed, and returns what it printed.
func do(t *testing.T, name string, args ...string) string {
	t.Helper()
	r := run(t, name, args...)
	if r.code != 0 {
		t.Fatalf("%s %s: exit code %d\n%s", name, strings.Join(args, " "), r.code, r.stderr)
	}
	return strings.TrimSuffix(r.stdout, "\n")
}

// sh runs a shell script; $1, $2, … are the arguments.
func sh(t *testing.T, script string, args ...string) result {
	t.Helper()
	return run(t, "bash", append([]string{"-c", script, "bash"}, args...)...)
}

// imsfs runs the program.
func imsfs(t *testing.T, args ...string) result {
	t.Helper()
	return run(t, program, args...)
}

// refused checks that a command failed with exit code 1 and one line on stderr that has all the words.
func (r result) refused(t *testing.T, words ...string) {
	t.Helper()
	r.failed(t, 1, words...)
	if strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("stderr is not one line: %q", r.stderr)
	}
}

// failed checks a command's exit code, and that its stderr has all the words.
func (r result) failed(t *testing.T, code int, words ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d; stderr %q", r.code, code, r.stderr)
	}
	wantWords(t, "stderr", r.stderr, words...)
}

func wantWords(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s is %q, want it to have %q", what, text, w)
		}
	}
}

// eventually waits for what has no event to wait for, until there is no problem any more.
func eventually(t *testing.T, look func() (problem string)) {
	t.Helper()
	limit := time.After(patience)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for problem := look(); problem != ""; problem = look() {
		select {
		case <-again.C:
		case <-limit:
			t.Fatalf("still after %v: %s", patience, problem)
		}
	}
}
