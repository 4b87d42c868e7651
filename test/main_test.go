// Package test runs the built program as its users do, over real mounts and with real tools. It
// also checks the sources (imports_test.go, bans_test.go) and the documentation (docs_test.go).
//
//	main_test.go      builds the program, and isolates the run
//	daemon_test.go    starts a server, and checks its exit code, log, mount and descriptors
//	tree_test.go      commands and files of a mounted tree
//	tools_test.go     runs tools; must
//	content_test.go   disks with known bytes
//
// All other files are tests, by topic. The package needs root, /dev/fuse and the tools that
// tools_test.go lists.
package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// insideVariable is set in the process that runs the tests: see enter.
const insideVariable = "IMSFS_TEST_INSIDE"

// workPrefix begins the name of each run's directory, which holds all files of the run.
const workPrefix = "imsfs-test-"

// program is the built program; set by TestMain before any test runs.
var program string

func TestMain(m *testing.M) {
	work := func() (int, error) { return inside(m) }
	if os.Geteuid() == 0 && os.Getenv(insideVariable) == "" {
		work = enter
	}
	code, err := work()
	if err != nil {
		fmt.Fprintln(os.Stderr, "test:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// enter runs the tests in a process with mount and PID namespaces of its own. They see no other
// tree on the machine, and no mount or process outlives them.
func enter() (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWPID,
		Unshareflags: syscall.CLONE_NEWNS, // also makes the mounts inside private
		Pdeathsig:    syscall.SIGKILL,
	}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil // -1 is a signal's
	}
	return 0, err
}

func inside(m *testing.M) (code int, err error) {
	if os.Geteuid() == 0 {
		if err := prepare(); err != nil {
			return 1, err
		}
	}
	if err := leftovers(filepath.Join(os.TempDir(), workPrefix)); err != nil {
		return 1, fmt.Errorf("before the tests: %w", err)
	}
	work, err := os.MkdirTemp("", workPrefix)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := os.Setenv("TMPDIR", work); err != nil { // for t.TempDir
		return 1, err
	}
	// By default the race detector makes each process wait a second at its end.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=20"); err != nil {
		return 1, err
	}
	if program, err = build(work); err != nil {
		return 1, err
	}
	code = m.Run()
	if err := leftovers(work); err != nil {
		return code, fmt.Errorf("after the tests: %w", err)
	}
	return code, nil
}

// prepare makes the new namespaces usable: /proc shows their processes, and no tree is mounted.
func prepare() error {
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	trees, err := trees()
	for _, at := range trees {
		err = errors.Join(err, unix.Unmount(at, unix.MNT_DETACH))
	}
	return err
}

func build(dir string) (string, error) {
	path := filepath.Join(dir, "imsfs")
	args := []string{"build", "-o", path}
	if raceEnabled {
		args = append(args, "-race", "-gcflags=github.com/klauspost/compress/...=-race=false") // as the Makefile has it
	}
	cmd := exec.Command("go", append(args, "./cmd/imsfs")...)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the program: %w\n%s", err, out)
	}
	return path, nil
}

// leftovers returns an error that names mounted trees, loop devices on files whose path begins with
// prefix, and processes.
func leftovers(prefix string) error {
	trees, err := trees()
	if err != nil {
		return err
	}
	var left []string
	for _, at := range trees {
		left = append(left, "a tree mounted at "+at)
	}
	loops, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return err
	}
	for _, path := range loops {
		if file, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(file), prefix) {
			left = append(left, fmt.Sprintf("loop device %s on %s", strings.Split(path, "/")[3], strings.TrimSpace(string(file))))
		}
	}
	if !childless() {
		left = append(left, "a process that still runs")
	}
	if len(left) > 0 {
		return fmt.Errorf("left over: %s", strings.Join(left, "; "))
	}
	return nil
}

// childless reports whether all processes end within a short while. This process has inherited
// every orphan.
func childless() bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := unix.Wait4(-1, nil, 0, nil); errors.Is(err, unix.ECHILD) {
				return
			}
		}
	}()
	select {
	case <-done:
		return true
	case <-time.After(patience):
		return false
	}
}

// trees lists the mount points of trees.
func trees() ([]string, error) {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return !strings.HasPrefix(m.FSType, "fuse.imsfs"), false
	})
	var at []string
	for _, m := range mounts {
		at = append(at, m.Mountpoint)
	}
	return at, err
}
