package test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// patience bounds every wait for an event. Only a hang exceeds it, even on a loaded machine.
const patience = time.Minute

// result is the outcome of a command.
type result struct {
	stdout, stderr string
	code           int
}

// must fails the test if err is not nil.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// readFile returns the bytes of a file.
func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}

// run runs a tool to its end. A tool that fails is a result; one that cannot be run fails the test.
func run(t *testing.T, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience) // not t.Context, because that has ended in a cleanup
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

// mustRun runs a tool that must succeed, and returns its output.
func mustRun(t *testing.T, name string, args ...string) string {
	t.Helper()
	r := run(t, name, args...)
	if r.code != 0 {
		t.Fatalf("%s %s: exit code %d\n%s", name, strings.Join(args, " "), r.code, r.stderr)
	}
	return strings.TrimSuffix(r.stdout, "\n")
}

// sh runs a bash script with the arguments $1, $2, …
func sh(t *testing.T, script string, args ...string) result {
	t.Helper()
	return run(t, "bash", append([]string{"-c", script, "bash"}, args...)...)
}

// imsfs runs the program.
func imsfs(t *testing.T, args ...string) result {
	t.Helper()
	return run(t, program, args...)
}

// refused checks that a command failed with exit code 1 and one line on stderr with all the words.
func (r result) refused(t *testing.T, words ...string) {
	t.Helper()
	r.failed(t, 1, words...)
	if strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("stderr is not one line: %q", r.stderr)
	}
}

// failed checks a command's exit code, and that its stderr contains all the words.
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

// eventually polls until look finds no problem. It is for states without an event to wait for.
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
