package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a process that was asked to end may take, before it is killed.
const patience = 20 * time.Second

// command prepares a child that ends with ctx. It has a process group of its own, so that Ctrl-C
// reaches only this program, which must unmount first.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience
	return cmd
}

// output runs a child to its end and returns its stdout. Its stderr is in the error.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// timed is output, and how long it took.
func timed(cmd *exec.Cmd) (time.Duration, error) {
	start := time.Now()
	_, err := output(cmd)
	return time.Since(start), err
}

// usage is the time and memory that a child took.
type usage struct {
	resident  int64 // bytes, at most
	processor time.Duration
}

func usageOf(cmd *exec.Cmd) usage {
	s := cmd.ProcessState
	return usage{s.SysUsage().(*syscall.Rusage).Maxrss << 10, s.UserTime() + s.SystemTime()}
}

// terminate ends the process of a pidfd, which need not be a child, and waits until it has ended.
func terminate(pidfd int) error {
	if err := unix.PidfdSendSignal(pidfd, unix.SIGTERM, nil, 0); err != nil {
		if err == unix.ESRCH {
			return nil
		}
		return err
	}
	for deadline := time.Now().Add(patience); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(time.Until(deadline).Milliseconds()))
		switch {
		case n == 1:
			return nil
		case err == unix.EINTR:
			continue
		case err != nil:
			return err
		}
		return fmt.Errorf("a process does not end: %w", unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0))
	}
}

// detach makes sure that nothing is mounted at a path any more.
func detach(path string) error {
	switch err := unix.Unmount(path, unix.MNT_DETACH); err {
	case nil, unix.EINVAL, unix.ENOENT: // EINVAL: not a mount point, as it should be
		return nil
	default:
		return &os.PathError{Op: "unmount", Path: path, Err: err}
	}
}

// statusBytes reads a line in kB of /proc/PID/status: VmHWM, VmRSS.
func statusBytes(pid int, key string) (int64, error) {
	path := filepath.Join("/proc", strconv.Itoa(pid), "status")
	return procBytes(path, key)
}

// processorTime returns the processor time of a process so far, in the kernel's ticks of 10 ms.
func processorTime(pid int) (time.Duration, error) {
	path := filepath.Join("/proc", strconv.Itoa(pid), "stat")
	content, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	// The second field, the name in parentheses, may hold anything: count from its end. User is the
	// 14th, system the 15th.
	fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("%s has but %d fields", path, len(fields))
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}

func procBytes(path, key string) (int64, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(content)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("%s has no line %s", path, key)
}

func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Bavail) * st.Bsize, nil
}
