package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"strconv"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/lifecycle/command"
)

// actor returns who makes a request. The kernel gives the number of the thread, not of its process.
func actor(ctx context.Context) command.Actor {
	c, ok := fuse.FromContext(ctx)
	if !ok {
		return command.Actor{}
	}
	return command.Actor{UID: c.Uid, GID: c.Gid, PID: c.Pid}
}

// process returns the process that makes a request; zero if it cannot be seen from here, for
// example because it lives in another PID namespace.
func process(ctx context.Context) command.Process {
	thread := actor(ctx).PID
	if thread == 0 {
		return command.Process{}
	}
	pid, err := procField(thread, "Tgid:", 10)
	if err != nil {
		return command.Process{}
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return command.Process{}
	}
	// The second field is the program's name in parentheses, which may have blanks; field 22 is the
	// time at which the process started.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return command.Process{}
	}
	started, err := strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return command.Process{}
	}
	return command.Process{PID: uint32(pid), Started: started}
}

// procField returns a number from the status of a thread.
func procField(thread uint32, key string, base int) (uint64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		if value, ok := bytes.CutPrefix(line, []byte(key)); ok {
			return strconv.ParseUint(string(bytes.TrimSpace(value)), base, 64)
		}
	}
	return 0, fmt.Errorf("status of thread %d has no %s", thread, key)
}

// uninterrupted returns a request's ctx without its end. The kernel ends the ctx when the caller
// gets a signal, and a signal does not mean that the caller wants to stop: runtimes and terminals
// send signals all the time, and few programs expect EINTR of a file. One that writes a command
// again finds the first one in its way. A process that is killed waits for the one answer it is
// owed.
func uninterrupted(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

// untilKilled returns a ctx that ends when the caller is being killed, and not by any other signal.
// It is for requests that may take long. stop must be called at the end.
func untilKilled(ctx context.Context) (mortal context.Context, stop func()) {
	mortal, cancel := context.WithCancel(uninterrupted(ctx))
	unwatch := context.AfterFunc(ctx, func() {
		if killed(mortal, actor(ctx).PID) {
			cancel()
		}
	})
	return mortal, func() { unwatch(); cancel() }
}

// lookAgain is how often a caller that got a signal is looked at. The kernel tells of a request's
// first signal only.
const lookAgain = 100 * time.Millisecond

// killed waits until a thread is being killed and returns true, or until ctx ends.
func killed(ctx context.Context, thread uint32) bool {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for !dying(thread) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// dying reports whether a thread has a SIGKILL pending. The kernel gives one to every thread of a
// process that any signal is about to end.
func dying(thread uint32) bool {
	if thread == 0 {
		return false // it cannot be seen from here
	}
	pending, err := procField(thread, "SigPnd:", 16)
	if err != nil {
		return errors.Is(err, iofs.ErrNotExist)
	}
	return pending&(1<<(unix.SIGKILL-1)) != 0
}
